"""Reading the structure of a ``pg_dump -Fc -Z0`` dump while it flows past.

pg_dump's custom format has no end marker: a dump that was cut off between two tables still lists
as a whole one with ``pg_restore -l``. So every data block is followed to its end, each block that
the table of contents promises must be there, and the rows of each table are counted.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from owctl.errors import BackupInvalid

MAGIC = b"PGDMP"
_OLDEST, _NEWEST = (1, 12), (1, 16)
_DATA_BLOCK, _LARGE_OBJECTS_BLOCK = 1, 3
_CUSTOM_FORMAT = 1
_NO_DATA = 3
# "\\.\n\n\n" ends the rows of a table.
_LINES_AFTER_ROWS = 3
_LARGEST_HEAD_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class DumpEntry:
    """A line of the dump's table of contents; ``statements`` make it."""

    dump_id: int
    kind: str
    schema: str
    name: str
    has_data: bool
    statements: str = ""
    owner: str = ""


@dataclass(slots=True)
class DumpContents:
    """What a dump holds. ``rows`` is keyed by ``schema.table``."""

    format_version: tuple[int, int] = (0, 0)
    server_version: str = ""
    database: str = ""
    entries: dict[int, DumpEntry] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    head_bytes: int = 0


class DumpScanner:
    """Follows a dump that is fed in pieces of any size; damage raises BackupInvalid."""

    def __init__(self) -> None:
        self.contents = DumpContents()
        self.head = b""
        self._pending = bytearray()
        self._try_at = 64 * 1024
        self._head_read = False
        self._int_bytes = 4
        self._block: int | None = None
        self._block_kind = 0
        self._in_object = False
        self._chunk_left = 0
        self._lines = 0
        self._seen: set[int] = set()

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the dump."""
        if not self._head_read:
            self._pending += data
            if len(self._pending) < self._try_at or not self._read_head(final=False):
                return
            data = b""
        self._follow(data)

    def finish(self) -> DumpContents:
        """Say that the dump is over and return what it holds; raises BackupInvalid if cut off."""
        if not self._head_read:
            self._read_head(final=True)
            self._follow(b"")
        if self._pending or self._chunk_left or self._block is not None:
            raise BackupInvalid("The database dump is cut off within a table's rows.")
        missing = [
            f"{entry.schema}.{entry.name}".strip(".")
            for entry in self.contents.entries.values()
            if entry.has_data and entry.dump_id not in self._seen
        ]
        if missing:
            raise BackupInvalid(f"The database dump is cut off: no data of {', '.join(missing)}.")
        return self.contents

    def _read_head(self, *, final: bool) -> bool:
        reader = _HeadReader(bytes(self._pending))
        try:
            contents = reader.read()
        except _CutOff:
            if final or len(self._pending) > _LARGEST_HEAD_BYTES:
                raise BackupInvalid(
                    "The database dump is cut off within its table of contents."
                ) from None
            self._try_at = len(self._pending) * 2
            return False
        self.contents = contents
        self._int_bytes = reader.int_bytes
        contents.head_bytes = reader.position
        self.head = bytes(self._pending[: reader.position])
        del self._pending[: reader.position]
        self._head_read = True
        return True

    def _follow(self, data: bytes) -> None:
        """Walk the data blocks: this loop runs once a row, so it is written for speed."""
        if self._pending:
            data = bytes(self._pending) + data
            self._pending.clear()
        position, end, width = 0, len(data), self._int_bytes + 1
        while True:
            if self._chunk_left:
                step = min(self._chunk_left, end - position)
                self._lines += data.count(b"\n", position, position + step)
                self._chunk_left -= step
                position += step
                if self._chunk_left:
                    return
            needed = width if self._block is not None else width + 1
            if end - position < needed:
                self._pending += data[position:]
                return
            if self._block is None:
                self._begin_block(data[position], _integer(data, position + 1, width))
            else:
                self._next_chunk(_integer(data, position, width))
            position += needed

    def _begin_block(self, kind: int, dump_id: int) -> None:
        if kind not in (_DATA_BLOCK, _LARGE_OBJECTS_BLOCK):
            raise BackupInvalid(f"The database dump is damaged: block type {kind} is unknown.")
        entry = self.contents.entries.get(dump_id)
        if entry is None or not entry.has_data or dump_id in self._seen:
            raise BackupInvalid(f"The database dump is damaged: block {dump_id} is not expected.")
        self._block, self._block_kind, self._lines, self._in_object = dump_id, kind, 0, False

    def _next_chunk(self, length: int) -> None:
        """Take the number before a chunk: its length, a large object's id, or 0 for the end."""
        if length < 0:
            raise BackupInvalid("The database dump is damaged: a length is negative.")
        if self._block_kind == _LARGE_OBJECTS_BLOCK and not self._in_object:
            if length:
                self._in_object = True
            else:
                self._end_block()
        elif length:
            self._chunk_left = length
        elif self._block_kind == _LARGE_OBJECTS_BLOCK:
            self._in_object = False
        else:
            self._end_block()

    def _end_block(self) -> None:
        dump_id = self._block
        if dump_id is None:
            raise BackupInvalid("The database dump is damaged: a block ends before it begins.")
        entry = self.contents.entries[dump_id]
        if entry.kind == "TABLE DATA":
            rows = self._lines - _LINES_AFTER_ROWS
            if rows < 0:
                raise BackupInvalid(f"The database dump has no end of the rows of {entry.name}.")
            self.contents.rows[f"{entry.schema}.{entry.name}"] = rows
        self._seen.add(dump_id)
        self._block = None


def read_head(pieces: Iterable[bytes]) -> tuple[DumpContents, bytes, Iterator[bytes]]:
    """Return what a dump says that it holds, the bytes that say so, and the bytes after them.

    Raises BackupInvalid, and what ``pieces`` raises.
    """
    rest = iter(pieces)
    gathered, try_at = bytearray(), 1
    for piece in rest:
        gathered += piece
        if len(gathered) < try_at:
            continue
        reader = _HeadReader(bytes(gathered))
        try:
            contents = reader.read()
        except _CutOff:
            try_at = len(gathered) * 2
            continue
        head = bytes(gathered[: reader.position])
        return contents, head, chain([bytes(gathered[reader.position :])], rest)
    raise BackupInvalid("The database dump is cut off within its table of contents.")


def with_search_path(head: bytes, path: str) -> bytes:
    """Return a dump's head that has pg_restore set another ``search_path`` than the empty one."""
    reader = _HeadReader(head)
    reader.read()
    statement = "SELECT pg_catalog.set_config('search_path', '{}', false);\n"
    empty, wanted = (
        b"\0" + len(text).to_bytes(reader.int_bytes, "little") + text
        for text in (statement.format(each.replace("'", "''")).encode() for each in ("", path))
    )
    return head.replace(empty, wanted, 1)


def _integer(data: bytes, position: int, width: int) -> int:
    value = int.from_bytes(data[position + 1 : position + width], "little")
    return -value if data[position] else value


class _CutOff(Exception):
    """The bytes end within the head."""


class _HeadReader:
    """Reads a dump's header and table of contents out of bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.int_bytes = 4
        self.offset_bytes = 8
        self.version = (0, 0)

    def read(self) -> DumpContents:
        """Return the contents without rows; raises _CutOff, BackupInvalid."""
        contents = self._header()
        for _ in range(self._int()):
            entry = self._entry()
            contents.entries[entry.dump_id] = entry
        return contents

    def _header(self) -> DumpContents:
        if self._bytes(5) != MAGIC:
            raise BackupInvalid("The database dump does not begin as pg_dump's custom format does.")
        self.version = (self._byte(), self._byte())
        self._byte()
        if not _OLDEST <= self.version <= _NEWEST:
            raise BackupInvalid(
                "The database dump has format version {}.{}, which this owctl does not know.".format(
                    *self.version
                ),
                hint="a newer owctl",
            )
        self.int_bytes, self.offset_bytes, form = self._byte(), self._byte(), self._byte()
        # Since 1.15 the kind of compression is one byte, before it the level was a number.
        compression = self._byte() if self.version >= (1, 15) else self._int()
        if form != _CUSTOM_FORMAT or compression:
            raise BackupInvalid("The database dump is not in pg_dump's uncompressed custom format.")
        for _ in range(7):
            self._int()
        database, server_version = self._str(), self._str()
        self._str()
        return DumpContents(self.version, server_version or "", database or "")

    def _entry(self) -> DumpEntry:
        dump_id = self._int()
        self._int()
        self._str()
        self._str()
        name, kind = self._str(), self._str()
        self._int()
        statements = self._str()
        for _ in range(2):
            self._str()
        schema = self._str()
        self._str()
        if self.version >= (1, 14):
            self._str()
        if self.version >= (1, 16):
            self._int()
        owner = self._str()
        self._str()
        while self._str() is not None:
            pass
        state = self._byte()
        self._bytes(self.offset_bytes)
        return DumpEntry(
            dump_id, kind or "", schema or "", name or "", state != _NO_DATA,
            statements or "", owner or "",
        )  # fmt: skip

    def _bytes(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise _CutOff
        found = self.data[self.position : end]
        self.position = end
        return found

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _int(self) -> int:
        sign = self._byte()
        value = int.from_bytes(self._bytes(self.int_bytes), "little")
        return -value if sign else value

    def _str(self) -> str | None:
        length = self._int()
        return None if length < 0 else self._bytes(length).decode("utf-8", "replace")
