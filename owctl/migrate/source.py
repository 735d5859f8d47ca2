"""Opens the old backend's database: a private copy, read-only, damaged pages and all."""

import re
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from owctl.errors import OwctlError
from owctl.migrate.identifiers import quoted
from owctl.migrate.private_copy import copy_database, read_header
from owctl.migrate.salvage import find_rowids, read_row
from owctl.migrate.values import Raw
from owctl.migrate.versions import SourceVersion, detect_version

_INTEGRITY_MESSAGES = 100
# integrity_check reports these too; the pages are sound, and the mapping looks after such rows.
_WITHOUT_ROWID = re.compile(rb"WITHOUT\s+ROWID\s*(,|$)", re.IGNORECASE)
_NO_DAMAGE = ("NULL value in ", "non-unique entry in index", "CHECK constraint failed")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that lies on a damaged page."""

    rowid: int
    problem: str


class Source:
    """The old database, open for reading. Texts come as bytes, never decoded by SQLite.

    ``path`` is the given file, ``tables`` its tables in order of their names, ``integrity`` what
    SQLite's check says against it (empty: sound).
    """

    def __init__(
        self, path: Path, database: Path, folder: tempfile.TemporaryDirectory[str] | None = None
    ) -> None:
        self.path = path
        self._folder = folder
        self._connection = sqlite3.connect(
            f"{database.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None
        )
        self._connection.text_factory = bytes
        self._counts: dict[str, int] = {}
        self._rowids: dict[str, Sequence[int]] = {}
        self._without_rowid: set[str] = set()
        self.derived: dict[object, Any] = {}  # what the mapping worked out once, by its own keys
        self.integrity: tuple[str, ...] = ()
        self.columns: dict[str, tuple[str, ...]] = {}
        self.size_bytes = database.stat().st_size
        self._prepare()
        self.tables = tuple(self.columns)
        self.version: SourceVersion = detect_version(self.columns, self._heads())

    @property
    def damaged(self) -> bool:
        """Tell whether rows must be read one by one, because pages are damaged."""
        return bool(self.integrity)

    def rows_in(self, table: str) -> int:
        """Return how many rows the table has, unreadable ones too."""
        if table not in self._counts:
            self._counts[table] = (
                len(self._salvaged(table))
                if self.damaged
                else int(self.query(f"SELECT count(*) FROM {quoted(table)} NOT INDEXED")[0][0])
            )
        return self._counts[table]

    def rows(
        self, table: str, columns: Sequence[str]
    ) -> Iterator[tuple[int, tuple[Raw, ...]] | Unreadable]:
        """Yield (rowid, values of the columns) in the order of rowid; one row in memory at a time."""
        names = ", ".join(quoted(column) for column in columns)
        if self.damaged:
            for rowid in self._salvaged(table):
                values = read_row(self._connection, table, columns, rowid)
                yield Unreadable(rowid, values) if isinstance(values, str) else (rowid, values)
            return
        if table in self._without_rowid:  # an extension's; numbered as they come
            names = names.replace(quoted("rowid"), "NULL")
            statement = f"SELECT row_number() OVER (), {names} FROM {quoted(table)}"
        else:
            statement = f"SELECT rowid, {names} FROM {quoted(table)} ORDER BY rowid"
        try:
            found = self._connection.execute(statement)
            while (row := found.fetchone()) is not None:
                result, row = (row[0], row[1:]), None
                yield result
                del result  # two rows of 200 MB are not held at once
        except sqlite3.DatabaseError as error:
            raise OwctlError(f"cannot read {self.path}: {table}: {error}") from error

    def query(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a statement that yields few; damaged pages raise OwctlError."""
        try:
            return self._connection.execute(statement, tuple(parameters)).fetchall()
        except sqlite3.DatabaseError as error:
            raise OwctlError(f"cannot read {self.path}: {error}") from error

    def close(self) -> None:
        """Close the copy and remove it."""
        self._connection.close()
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> "Source":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _prepare(self) -> None:
        try:
            self._connection.execute("PRAGMA trusted_schema = OFF")
            self._connection.execute("PRAGMA mmap_size = 0")
            tables = self._table_names()
            for name, definition in tables:
                table = name.decode("utf-8", "replace")
                if _WITHOUT_ROWID.search(definition or b""):
                    self._without_rowid.add(table)
                found = self._connection.execute(f"PRAGMA table_info({quoted(table)})").fetchall()
                self.columns[table] = tuple(row[1].decode("utf-8", "replace") for row in found)
            self.integrity = self._check()
        except sqlite3.DatabaseError as error:
            raise OwctlError(
                f"cannot read {self.path}: {error}",
                hint="its first pages are damaged: recover it with `sqlite3 webui.db .recover`",
            ) from error

    def _table_names(self) -> list[tuple[bytes, bytes | None]]:
        statement = (
            "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE "
            "'sqlite\\_%' ESCAPE '\\' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
        )
        try:
            return self._connection.execute(statement).fetchall()
        except sqlite3.DatabaseError:
            # A file that lost its end is opened only with this; nothing is ever written.
            self._connection.execute("PRAGMA writable_schema = ON")
            return self._connection.execute(statement).fetchall()

    def _check(self) -> tuple[str, ...]:
        try:
            rows = self._connection.execute(
                f"PRAGMA integrity_check({_INTEGRITY_MESSAGES})"
            ).fetchall()
        except sqlite3.DatabaseError as error:
            return (str(error),)
        messages = [row[0].decode("utf-8", "replace") for row in rows]
        lines = [line for message in messages for line in message.splitlines()]
        return tuple(line for line in lines if line != "ok" and not line.startswith(_NO_DAMAGE))

    def _heads(self) -> tuple[str, ...]:
        if "version_num" not in self.columns.get("alembic_version", ()):
            return ()
        rows = self.rows("alembic_version", ("version_num",))
        return tuple(
            row[1][0].decode("utf-8", "replace")
            for row in rows
            if not isinstance(row, Unreadable) and isinstance(row[1][0], bytes)
        )

    def _salvaged(self, table: str) -> Sequence[int]:
        if table not in self._rowids:
            self._rowids[table] = find_rowids(self._connection, table)
        return self._rowids[table]


def open_source(
    path: Path,
    *,
    folder: Path | None = None,
    lock_wait_seconds: float = 30.0,
    private: bool = False,
) -> Source:
    """Open the database at ``path`` through a private copy, which ``Source.close`` removes.

    ``folder`` is where the copy goes (default: the system's folder for temporary files).
    ``private`` says that the file is a copy that nobody else uses: it is opened as it is. The given
    file is never written to. Raises OwctlError (see copy_database); an unknown version raises
    only in plan_tables.
    """
    if private:
        read_header(path)
        return Source(path, path)
    holder = tempfile.TemporaryDirectory(prefix="owctl-migrate-", dir=folder)
    try:
        copy = Path(holder.name) / "webui.db"
        copy_database(path, copy, lock_wait_seconds=lock_wait_seconds)
        return Source(path, copy, holder)
    except BaseException:
        holder.cleanup()
        raise
