"""The database of the Python backend: which version it is, which tables and columns it has."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from owctl.errors import OwctlError
from owctl.migrate.convert.values import Raw, quoted
from owctl.migrate.source.private_copy import (
    copy_database,
    find_rowids,
    is_cut_off,
    read_header,
    read_row,
    rowid_name,
)
from owctl.scratch_folder import ScratchFolder

# -- Which version of the old backend wrote a database: by its alembic head and its columns.


# Alembic heads of the old backend, in order. The first is that of 0.6.32, the last that of 0.6.43,
# which is also that of all of 0.7;
# those between belong to the releases between them, and are told apart by their columns alone.
HEAD_0_6_32 = "a5c220713937"
HEAD_0_6_43 = "c440947495f3"
_KNOWN_HEADS = (
    HEAD_0_6_32,
    "37f288994c47",  # group_member
    "2f1211949ecc",  # message.is_pinned, channel_member.*
    "b10670c03dd5",  # user.oauth, api_key
    "90ef40d4714e",  # channel.*, channel_webhook
    "3e0e00844bb0",  # knowledge_file
    "6283dc0e4d8d",  # channel_file
    "81cc2ce44d79",  # channel_file.message_id, knowledge.data
    HEAD_0_6_43,  # chat_file
)
_OLDER_HEADS = frozenset(
    [
        "7e5b5dc7342b",
        "ca81bd47c050",
        "c0fbf31ca0db",
        "6a39f3d8e55c",
        "242a2047eae0",
        "1af9b942657b",
        "3ab32c4b8f59",
        "c69f45358db4",
        "c29facfe716b",
        "af906e964978",
        "4ace53fd72c8",
        "922e7a387820",
        "57c599a3cb57",
        "7826ab40b532",
        "3781e22d8b01",
        "9f0c9cd09105",
        "d31026856c01",
        "018012973d35",
        "3af16a1c9fb6",
        "38d63c18f30f",
    ]
)
# What a database has at 0.6.32 and not before it; without them it is older, whatever it says.
_REQUIRED = {
    "user": ("id", "email", "username", "date_of_birth"),
    "auth": ("id", "email", "password"),
    "chat": ("id", "user_id", "chat", "meta", "folder_id"),
    "message": ("id", "reply_to_id"),
    "note": ("id", "title"),
    "oauth_session": ("id",),
}
# Without these there are no accounts, and nothing belongs to anybody.
_INDISPENSABLE = frozenset(("user.id", "user.email"))
_FOREMOST = ("user", "auth", "chat")


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """``name`` for people ("0.6.32", "0.6.33 to 0.6.42"), ``head`` of alembic, how it is known."""

    name: str
    head: str | None
    state: Literal["known", "incomplete", "older", "newer", "foreign"]
    missing: tuple[str, ...] = ()


def detect_version(columns: Mapping[str, tuple[str, ...]], heads: tuple[str, ...]) -> SourceVersion:
    """Tell the version from the columns by table and the rows of ``alembic_version``."""
    head = heads[0] if len(heads) == 1 else None
    if not any(table in columns for table in _FOREMOST):
        return SourceVersion("no Open WebUI database", head, "foreign", _FOREMOST)
    missing = tuple(
        f"{table}.{column}"
        for table, required in _REQUIRED.items()
        for column in required
        if column not in columns.get(table, ())
    )
    if head in _OLDER_HEADS or (missing and head is None and len(heads) == 0):
        return SourceVersion("older than 0.6.32", head, "older", missing)
    if head not in _KNOWN_HEADS:
        shown = ", ".join(heads) or "no alembic head"
        return SourceVersion(f"newer than 0.7 ({shown})", head, "newer", missing)
    name = {HEAD_0_6_32: "0.6.32", HEAD_0_6_43: "0.6.43"}.get(head, "0.6.33 to 0.6.42")
    return SourceVersion(name, head, "incomplete" if missing else "known", missing)


def require_known(version: SourceVersion, *, allow_unknown: bool) -> None:
    """Raise OwctlError for a version that this owctl does not know how to read."""
    if version.state == "foreign":
        raise OwctlError(
            "the file is a SQLite database, but not one of Open WebUI: it has no table "
            + ", ".join(version.missing),
            hint="name the old backend's webui.db",
        )
    if version.state == "older":
        raise OwctlError(
            f"the database is {version.name}"
            + (f" (alembic head {version.head})" if version.head else " (no alembic head)"),
            hint="start Open WebUI 0.6.32 (Python) once on it: it brings the tables up to date",
            details=[f"missing: {column}" for column in version.missing],
        )
    if version.state == "incomplete" and (
        not allow_unknown or not _INDISPENSABLE.isdisjoint(version.missing)
    ):
        raise OwctlError(
            f"the database says that it is {version.name}, but parts of it are missing",
            hint="a whole copy of the old backend's webui.db, or --allow-unknown to take what is there",
            details=[f"missing: {column}" for column in version.missing],
        )
    if version.state == "newer" and (not allow_unknown or version.missing):
        raise OwctlError(
            f"the database is {version.name}; owctl knows 0.6.32 to 0.7",
            hint="a newer owctl, or --allow-unknown to take what is known and report the rest",
            details=[f"missing: {column}" for column in version.missing],
        )


# -- Opens the old backend's database: a private copy, read-only, damaged pages and all.


# Copies of a database that hold what people wrote: what a kill leaves goes with the next run.
SCRATCH_PREFIX = "owctl-migrate-"
_INTEGRITY_MESSAGES = 100
# integrity_check reports these too; the pages are sound, and the mapping looks after such rows.
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

    def __init__(self, path: Path, database: Path, folder: ScratchFolder | None = None) -> None:
        self.path = path
        self._folder = folder
        self._connection = sqlite3.connect(
            f"{database.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None
        )
        self._connection.text_factory = bytes
        self._counts: dict[str, int] = {}
        self._rowids: dict[str, Sequence[int]] = {}
        self._rowid_names: dict[str, str | None] = {}
        self.derived: dict[object, Any] = {}  # what the mapping worked out once, by its own keys
        self.integrity: tuple[str, ...] = ()
        self.columns: dict[str, tuple[str, ...]] = {}
        self.size_bytes = database.stat().st_size
        self._cut_off = is_cut_off(read_header(database), self.size_bytes)
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
            if not self.damaged:
                statement = f"SELECT count(*) FROM {quoted(table)} NOT INDEXED"
                self._counts[table] = int(self.query(statement)[0][0])
            elif self.rowid_name(table) is None:
                self._counts[table] = sum(1 for _ in self.rows(table, ()))
            else:
                self._counts[table] = len(self._salvaged(table))
        return self._counts[table]

    def rowid_name(self, table: str) -> str | None:
        """Return the name of the row's own number in SQL; None where rows have none."""
        return self._rowid_names[table]

    def rows(
        self, table: str, columns: Sequence[str]
    ) -> Iterator[tuple[int, tuple[Raw, ...]] | Unreadable]:
        """Yield (rowid, values of the columns) in the order of rowid; one row in memory at a time.

        Rows without a rowid, an extension's, are numbered as they come.
        """
        number = self.rowid_name(table)
        if number is None:
            yield from self._numbered(table, columns)
            return
        if self.damaged:
            for rowid in self._salvaged(table):
                values = read_row(self._connection, table, number, columns, rowid)
                yield Unreadable(rowid, values) if isinstance(values, str) else (rowid, values)
            return
        names = ", ".join([number, *map(quoted, columns)])
        try:
            found = self._connection.execute(f"SELECT {names} FROM {quoted(table)} ORDER BY 1")
            while (row := found.fetchone()) is not None:
                result, row = (row[0], row[1:]), None
                yield result
                del result  # two rows of 200 MB are not held at once
        except sqlite3.DatabaseError as error:
            raise OwctlError(f"cannot read {self.path}: {table}: {error}") from error

    def _numbered(
        self, table: str, columns: Sequence[str]
    ) -> Iterator[tuple[int, tuple[Raw, ...]] | Unreadable]:
        names = ", ".join(map(quoted, columns)) or "NULL"
        number = 0
        try:
            for row in self._connection.execute(f"SELECT {names} FROM {quoted(table)}"):
                number += 1
                yield number, row if columns else ()
        except sqlite3.DatabaseError as error:
            if not self.damaged:
                raise OwctlError(f"cannot read {self.path}: {table}: {error}") from error
            yield Unreadable(number + 1, f"{error}; this row and all behind it")

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
            self._folder.remove()

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
            for (name,) in self._table_names():
                table = name.decode("utf-8", "replace")
                self._rowid_names[table] = rowid_name(self._connection, table)
                found = self._connection.execute(f"PRAGMA table_info({quoted(table)})").fetchall()
                self.columns[table] = tuple(row[1].decode("utf-8", "replace") for row in found)
            self.integrity = self._check()
        except sqlite3.DatabaseError as error:
            raise OwctlError(
                f"cannot read {self.path}: {error}",
                hint="its first pages are damaged: recover it with `sqlite3 webui.db .recover`",
            ) from error

    def _table_names(self) -> list[tuple[bytes]]:
        statement = (
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE "
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
        if self._cut_off:
            lines.append("the file ends in the middle of a page: it was cut off")
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
            number = self._rowid_names[table]
            assert number is not None
            self._rowids[table] = find_rowids(self._connection, table, number)
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
    holder = ScratchFolder(SCRATCH_PREFIX, folder)
    try:
        copy = holder.path / "webui.db"
        copy_database(path, copy, lock_wait_seconds=lock_wait_seconds)
        return Source(path, copy, holder)
    except BaseException:
        holder.remove()
        raise
