"""The two forms of an export: CSV as RFC 4180 has it, and JSON lines, from values or as psql sends them."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from owctl.migrate.json_repair import JsonUnusable
from owctl.migrate.json_text import clean_json
from owctl.migrate.text import clean_text
from owctl.migrate.values import Raw

Format = Literal["csv", "jsonl"]
Kind = Literal["plain", "json", "boolean"]
Write = Callable[[bytes], None]
OnRows = Callable[[int], None]
_MUST_QUOTE = re.compile(rb'[",\r\n]')
# In rows of JSON psql quotes with this: JSON never holds it, as control characters are escaped.
JSON_QUOTE = b"\x01"
JSON_DELIMITER = b"\x02"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: ``json`` holds JSON as text, ``boolean`` 0 and 1."""

    name: str
    kind: Kind = "plain"


@dataclass(slots=True)
class Written:
    """What became of a table: rows written, rows on damaged pages, values mended by column."""

    rows: int = 0
    unreadable: int = 0
    mended: dict[str, int] = field(default_factory=dict)


class Origin(Protocol):
    """A database that tables are exported from."""

    @property
    def name(self) -> str:
        """What the database is called in messages."""

    @property
    def tables(self) -> dict[str, tuple[Column, ...]]:
        """The columns by table."""

    def count_rows(self) -> dict[str, int]:
        """Return how many rows each table has."""

    def write(
        self,
        table: str,
        columns: tuple[Column, ...],
        form: Format,
        write: Write,
        on_rows: OnRows = lambda _: None,
    ) -> Written:
        """Hand a table to ``write``, piece by piece; raises OwctlError.

        ``on_rows`` is told how many rows there are so far.
        """


def csv_line(values: list[bytes | None]) -> bytes:
    """Return a record; NULL is nothing at all, an empty text is two quotes."""
    return b",".join(map(_csv_field, values)) + b"\r\n"


def _csv_field(value: bytes | None) -> bytes:
    if value is None:
        return b""
    if not value or _MUST_QUOTE.search(value):
        return b'"' + value.replace(b'"', b'""') + b'"'
    return value


def csv_value(raw: Raw) -> tuple[bytes | None, bool]:
    """Return a value as UTF-8 without NUL, and whether it had to be changed for that."""
    value, changes = clean_text(raw)
    return value, bool(changes)


def json_value(raw: Raw, kind: Kind) -> tuple[bytes, bool]:
    """Return a value as JSON on one line, and whether it had to be changed for that."""
    if raw is None:
        return b"null", False
    if kind == "json":
        try:
            value, changes = clean_json(raw)
        except JsonUnusable:
            return _json_plain(raw)[0], True
        # In valid JSON these stand between its tokens only.
        text = (value or b"null").replace(b"\n", b" ").replace(b"\r", b" ")
        return text, not set(changes) <= {"null-text"}
    if kind == "boolean" and raw in (0, 1):
        return (b"true" if raw else b"false"), False
    return _json_plain(raw)


def _json_plain(raw: Raw) -> tuple[bytes, bool]:
    if isinstance(raw, bytes):
        text, changes = clean_text(raw)
        return json.dumps((text or b"").decode(), ensure_ascii=False).encode(), bool(changes)
    if isinstance(raw, float) and (raw != raw or raw in (float("inf"), float("-inf"))):
        return json.dumps(str(raw)).encode(), False
    return json.dumps(raw).encode(), False


class PsqlLines:
    """Makes the form's lines of what psql's ``COPY … (FORMAT csv)`` writes, and counts them.

    Its lines end with a line feed alone, and a quoted value may hold some, too. For JSON, what is
    quoted has line breaks between tokens (a column of type ``json`` is kept as it was typed).
    """

    def __init__(self, form: Format) -> None:
        self.lines = 0
        self._form = form
        self._quote = b'"' if form == "csv" else JSON_QUOTE
        self._inside = False

    def feed(self, data: bytes) -> bytes:
        """Return what the next piece becomes."""
        parts = data.split(self._quote)
        for number, part in enumerate(parts):
            if number:
                self._inside = not self._inside
            parts[number] = self._converted(part)
        return (b'"' if self._form == "csv" else b"").join(parts)

    def _converted(self, part: bytes) -> bytes:
        if self._inside:
            if self._form == "csv":
                return part
            return part.replace(b"\n", b" ").replace(b"\r", b" ")
        self.lines += part.count(b"\n")
        return part.replace(b"\n", b"\r\n") if self._form == "csv" else part
