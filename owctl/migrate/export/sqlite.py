"""Tables of the old backend's SQLite database, read from a private copy of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from owctl.migrate.convert.column_map import COLUMN_MAP
from owctl.migrate.convert.values import Raw, quoted
from owctl.migrate.export.form import (
    Column,
    Format,
    Kind,
    OnRows,
    Write,
    Written,
    csv_line,
    csv_value,
    json_value,
)
from owctl.migrate.source.database import SCRATCH_PREFIX, Source, Unreadable, open_source
from owctl.scratch_folder import ScratchFolder

if TYPE_CHECKING:
    from owctl.engine.connection import Engine

_WRITE_BYTES = 1 << 18


@contextmanager
def open_file(path: Path) -> Iterator["SqliteOrigin"]:
    """Open a database of this machine; it is copied, and only read. Raises OwctlError."""
    with open_source(path) as source:
        yield SqliteOrigin(source, str(path))


@contextmanager
def open_container(engine: "Engine", name: str) -> Iterator["SqliteOrigin"]:
    """Open a copy of the database of a container, which may be at work. Raises OwctlError."""
    from owctl.migrate.source.capture import capture_place, find_container

    with ScratchFolder(SCRATCH_PREFIX) as folder:
        place = find_container(engine, name)
        captured = capture_place(engine, place, folder, uploads=False)
        with open_source(captured.database, private=True) as source:
            yield SqliteOrigin(source, f"{place.database} of {name}")


class SqliteOrigin:
    """The tables of an open copy."""

    def __init__(self, source: Source, name: str) -> None:
        self.name = name
        self._source = source
        self.tables = {table: self._columns(table) for table in source.tables}

    def count_rows(self) -> dict[str, int]:
        """Return how many rows each table has, those on damaged pages too."""
        return {table: self._source.rows_in(table) for table in self.tables}

    def write(
        self,
        table: str,
        columns: tuple[Column, ...],
        form: Format,
        write: Write,
        on_rows: OnRows = lambda _: None,
    ) -> Written:
        """Hand a table to ``write``; what is no UTF-8, NUL or no JSON is mended and counted."""
        written = Written()
        names = [column.name for column in columns]
        heads = [_key(name) for name in names]
        pieces = [csv_line([name.encode() for name in names])] if form == "csv" else []
        size_bytes = 0
        for row in self._source.rows(table, names):
            if isinstance(row, Unreadable):
                written.unreadable += 1
                continue
            if form == "csv":
                line = _csv_row(columns, row[1], written)
            else:
                line = _json_row(columns, heads, row[1], written)
            written.rows += 1
            pieces.append(line)
            size_bytes += len(line)
            if size_bytes >= _WRITE_BYTES:
                write(b"".join(pieces))
                on_rows(written.rows)
                pieces, size_bytes = [], 0
        write(b"".join(pieces))
        return written

    def _columns(self, table: str) -> tuple[Column, ...]:
        mapped = {
            column.read_from for column in COLUMN_MAP.get(table, ()) if column.kind.endswith("json")
        }
        found = self._source.query(f"PRAGMA table_info({quoted(table)})")
        declared = {row[1].decode("utf-8", "replace"): row[2].upper() for row in found}
        return tuple(
            Column(name, _kind(declared.get(name, b""), mapped=name in mapped))
            for name in self._source.columns[table]
        )


def _kind(declared: bytes, *, mapped: bool) -> Kind:
    if mapped or declared in (b"JSON", b"JSONB"):
        return "json"
    return "boolean" if declared in (b"BOOLEAN", b"BOOL") else "plain"


def _key(name: str) -> bytes:
    return json_value(name.encode(), "plain")[0]


def _csv_row(columns: tuple[Column, ...], row: tuple[Raw, ...], written: Written) -> bytes:
    values = []
    for column, raw in zip(columns, row, strict=True):
        value, mended = csv_value(raw)
        _note(written, column, mended=mended)
        values.append(value)
    return csv_line(values)


def _json_row(
    columns: tuple[Column, ...], heads: list[bytes], row: tuple[Raw, ...], written: Written
) -> bytes:
    values = []
    for column, head, raw in zip(columns, heads, row, strict=True):
        value, mended = json_value(raw, column.kind)
        _note(written, column, mended=mended)
        values.append(head + b":" + value)
    return b"{" + b",".join(values) + b"}\n"


def _note(written: Written, column: Column, *, mended: bool) -> None:
    if mended:
        written.mended[column.name] = written.mended.get(column.name, 0) + 1
