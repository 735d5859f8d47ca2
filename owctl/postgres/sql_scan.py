"""A dump in SQL text, read as psql reads it: is it whole, what is in it, how many rows.

psql obeys a backslash wherever one stands outside of strings and of a table's rows, so the text is
followed quote by quote. Nothing is kept but the beginning of the present statement.
"""

import re
from dataclasses import dataclass, field

from owctl.errors import BackupInvalid

_COMPLETE = b"PostgreSQL database dump complete"
_VERSION = re.compile(rb" Dumped from database version (\d+)\.(\d+)")
# What may begin anything but plain text; a piece of the text may end in the middle of one.
_TOKEN = re.compile(rb"--|/\*|'|\"|\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$|;|\\")
_LONGEST_TOKEN_BYTES = 70
_IN_BLOCK_COMMENT = re.compile(rb"/\*|\*/")
_IN_ESCAPE_STRING = re.compile(rb"\\.|'", re.DOTALL)
_WORD_BYTE = re.compile(rb"[\w$\x80-\xff]")
_META = re.compile(rb"\\(?:un)?restrict [A-Za-z0-9]+[ \t]*\r?$")
_KEPT_BYTES = 1 << 18
_NAME = rb'("(?:[^"]|"")+"|[\w$\x80-\xff]+)'
_COPY = re.compile(
    rb"COPY\s+" + _NAME + rb"\." + _NAME + rb"\s*(?:\(.*\))?\s+FROM\s+stdin\s*$", re.DOTALL
)
_INSERT = re.compile(rb"INSERT\s+INTO\s+" + _NAME + rb"\." + _NAME)
_FIRST_WORD = re.compile(rb"\s*([A-Za-z]*)")
# They would end the one transaction that it is loaded in.
_REFUSED = (b"BEGIN", b"COMMIT", b"ROLLBACK", b"END", b"START", b"ABORT", b"PREPARE", b"SAVEPOINT")
_HINT = "a dump as `pg_dump DATABASE > FILE` writes it, without --create and other options"


@dataclass(slots=True)
class SqlScanner:
    """Feed it a dump in pieces of any size, then call ``finish``.

    ``rows`` has the rows by ``schema.table``, of the tables that are filled by COPY alone;
    ``statements`` counts all. Raises BackupInvalid, naming the statement.
    """

    rows: dict[str, int] = field(default_factory=dict)
    statements: int = 0
    server_version_number: int | None = None
    _uncounted: set[str] = field(default_factory=set)
    _state: str = "code"
    _closing: bytes = b""
    _depth: int = 0
    _buffer: bytes = b""
    _statement: bytearray = field(default_factory=bytearray)
    _table: str = ""
    _last: bytes = b"\n"
    _complete: bool = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._buffer += data
        self._go(final=False)

    def finish(self) -> dict[str, int]:
        """Return the rows by table; raises BackupInvalid unless the dump ended as pg_dump ends one."""
        if self._state == "line comment" or self._state == "copy":
            self._buffer += b"\n"
        self._go(final=True)
        if self._state != "code" or self._statement.strip() or not self._complete:
            what = f"the rows of {self._table}" if self._state == "copy" else "what pg_dump wrote"
            raise BackupInvalid(
                f"it is cut off within {what}: the line `-- {_COMPLETE.decode()}` is missing.",
                hint="an older dump of this database",
            )
        if not self.rows and not self._uncounted:
            raise BackupInvalid(
                "it holds no table: the database was empty when it was dumped.",
                hint="a dump of the database that the application used; see owctl doctor",
            )
        return {table: count for table, count in self.rows.items() if table not in self._uncounted}

    def _go(self, *, final: bool) -> None:
        steps = {
            "code": self._code,
            "line comment": self._line_comment,
            "block comment": self._block_comment,
            "string": self._quoted,
            "escape string": self._escape_string,
            "meta": self._meta,
            "copy": self._copy,
        }
        position = 0
        while True:
            before, state = position, self._state
            position = steps[state](position, final)
            if self._state == state and (position == before or position >= len(self._buffer)):
                break
        self._buffer = self._buffer[position:]

    def _code(self, position: int, final: bool) -> int:
        found = _TOKEN.search(self._buffer, position)
        if found is None or (not final and found.end() == len(self._buffer)):
            # A token may have begun in what is left.
            end = len(self._buffer) if final else len(self._buffer) - _LONGEST_TOKEN_BYTES
            if found is not None:
                end = min(end, found.start())
            return self._keep(position, end) if end > position else position
        position = self._keep(position, found.start())
        return self._token(found.group(), found.end())

    def _token(self, token: bytes, after: int) -> int:
        if token == b";":
            self._end_of_statement()
        elif token == b"--":
            self._state = "line comment"
        elif token == b"/*":
            self._state, self._depth = "block comment", 1
        elif token == b"\\":
            self._state = "meta"
            return after - 1
        elif token == b"'" and self._after_e():
            self._keep(after - 1, after)
            self._state = "escape string"
        elif token.startswith(b"$") and _WORD_BYTE.match(self._last[-1:]):
            # The dollar of a name; a later one of these may begin a quote all the same.
            return self._keep(after - len(token), after - len(token) + 1)
        else:
            self._keep(after - len(token), after)
            self._state, self._closing = "string", token
        return after

    def _after_e(self) -> bool:
        return self._last[-1:] in (b"E", b"e") and not _WORD_BYTE.match(self._last[:-1])

    def _keep(self, start: int, end: int) -> int:
        """Remember text of the statement, and return where it ends."""
        if end > start:
            self._last = (self._last + self._buffer[max(start, end - 2) : end])[-2:]
            if len(self._statement) < _KEPT_BYTES:
                self._statement += self._buffer[start:end]
        return end

    def _line_comment(self, position: int, _: bool) -> int:
        end = self._buffer.find(b"\n", position)
        if end < 0:
            return position
        text = self._buffer[position:end]
        self._complete = self._complete or text.strip() == _COMPLETE
        version = _VERSION.match(text)
        if version is not None and self.server_version_number is None:
            self.server_version_number = int(version[1]) * 10000 + int(version[2])
        self._state = "code"
        return end

    def _block_comment(self, position: int, _: bool) -> int:
        found = _IN_BLOCK_COMMENT.search(self._buffer, position)
        if found is None:
            return max(position, len(self._buffer) - 1)
        self._depth += 1 if found.group() == b"/*" else -1
        if not self._depth:
            self._state, self._last = "code", b" "
        return found.end()

    def _quoted(self, position: int, _: bool) -> int:
        # A doubled quote ends one string and begins the next, which comes to the same.
        end = self._buffer.find(self._closing, position)
        if end < 0:
            return self._keep(position, max(position, len(self._buffer) - len(self._closing) + 1))
        self._state = "code"
        return self._keep(position, end + len(self._closing))

    def _escape_string(self, position: int, _: bool) -> int:
        found = _IN_ESCAPE_STRING.search(self._buffer, position)
        if found is None:
            end = len(self._buffer)
            return self._keep(position, end - 1 if self._buffer.endswith(b"\\") else end)
        if found.group() == b"'":
            self._state = "code"
        return self._keep(position, found.end())

    def _meta(self, position: int, final: bool) -> int:
        end = self._buffer.find(b"\n", position)
        if end < 0 and not final:
            return position
        line = self._buffer[position : end if end >= 0 else None]
        if self._statement.strip() or not _META.match(line):
            shown = line[:60].decode("utf-8", "replace").strip()
            raise BackupInvalid(
                f"it has a command for psql that a plain dump does not have: {shown!r}.", hint=_HINT
            )
        self._state = "code"
        return len(self._buffer) if end < 0 else end

    def _end_of_statement(self) -> None:
        statement = bytes(self._statement).strip()
        self._statement.clear()
        self._last = b";"
        self._complete = False
        self.statements += 1
        word = _FIRST_WORD.match(statement)
        first = word[1].upper() if word is not None else b""
        if first in _REFUSED:
            raise BackupInvalid(
                f"it has a statement that a plain dump does not have: {first.decode()!r}.",
                hint=_HINT,
            )
        if first == b"INSERT" and (found := _INSERT.match(statement)) is not None:
            self._uncounted.add(_name(found))
        if first == b"COPY":
            found = _COPY.match(statement)
            if found is None:
                shown = statement[:60].decode("utf-8", "replace")
                raise BackupInvalid(f"it has a COPY of another kind: {shown!r}.", hint=_HINT)
            self._table = _name(found)
            self.rows.setdefault(self._table, 0)
            self._state, self._depth = "copy", 0

    def _copy(self, position: int, _: bool) -> int:
        """Count the rows; ``_depth`` is 0 until the end of COPY's own line was seen."""
        if self._depth == 0:
            start = self._buffer.find(b"\n", position)
            if start < 0:
                return position
            self._depth = 1
            return start + 1
        if self._buffer.startswith(b"\\.\n", position):
            self._state, self._depth = "code", 0
            return position + 2
        end = self._buffer.find(b"\n\\.\n", position)
        if end < 0:
            # The end may have begun, so the last line waits; the next piece begins with a line.
            end = self._buffer.rfind(b"\n", position)
        if end < 0:
            return position
        self.rows[self._table] += self._buffer.count(b"\n", position, end + 1)
        return end + 1


def _name(found: re.Match[bytes]) -> str:
    parts = (found[1], found[2])
    plain = (p[1:-1].replace(b'""', b'"') if p.startswith(b'"') else p for p in parts)
    return b".".join(plain).decode("utf-8", "replace")
