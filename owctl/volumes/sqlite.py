"""SQLite files of a container: copied while they are written to, and examined.

A database with a write-ahead log is its file plus that log. As long as the log was not begun anew
(its header tells: salts, checkpoint number), file first and log second make a whole, whatever was
written meanwhile: every page that changed under the copy is in the log. Without such a log, a
transaction changes the counter in the file's header, and one under way shows by its journal: then
file and journal make a whole if neither moved while both were read.
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from owctl.engine.archives import read_archive, stat_path
from owctl.engine.connection import Engine
from owctl.errors import BackupInvalid, Interrupted, NotFound
from owctl.volumes.space import check_reserve
from owctl.volumes.tar import TarStream

MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_LOG_HEADER_BYTES = 32
_JOURNAL_HEADER_BYTES = 28
_ATTEMPTS = 5
# A small file is tried more often than that: its writer's pauses are long enough for a copy.
_PATIENCE_SECONDS = 5.0
_LOG_VERSION = slice(18, 20)
_MOST_MESSAGES = 3
# Work of SQLite's between two moments at which Ctrl-C is heard.
_STEPS = 100_000


@dataclass(frozen=True, slots=True)
class _State:
    """What changes when a database is written in a way that would spoil a copy."""

    log_header: bytes
    header: bytes = b""
    journal: bytes = b""
    modified_at: datetime | None = None
    journal_modified_at: datetime | None = None


def fetch_database(engine: Engine, container_id: str, path: str, target: Path) -> bool:
    """Copy the database ``path`` of a container to ``target``, its log beside it if it has one.

    ``target``'s folder is for this alone: it is emptied. False if it was written to so much that
    no consistent copy could be had, or is gone. Raises OwctlError and OSError.
    """
    began = time.monotonic()
    attempts = 0
    while True:
        attempts += 1
        with contextlib.suppress(_Changed):
            _copy(engine, container_id, path, target)
            return True
        if attempts >= _ATTEMPTS and time.monotonic() - began > _PATIENCE_SECONDS:
            return False


class _Changed(Exception):
    """What was read does not belong together."""


def _copy(engine: Engine, container_id: str, path: str, target: Path) -> None:
    """Copy file and log; raises _Changed if they do not belong together."""
    before = _state(engine, container_id, path)
    empty_folder(target.parent)
    _fetch(engine, container_id, path, target)
    if before.log_header:
        _fetch(engine, container_id, path + "-wal", target.with_name(target.name + "-wal"))
    if any(before.journal):
        # A transaction under way, or one that a killed program left: if nothing moves while both
        # are read, they are what a crash would leave, and SQLite rolls it back.
        _fetch(engine, container_id, path + "-journal", target.with_name(target.name + "-journal"))
    if _state(engine, container_id, path) != before:
        raise _Changed


def _state(engine: Engine, container_id: str, path: str) -> _State:
    stat = stat_path(engine, container_id, path)
    header = _first(engine, container_id, path, _HEADER_BYTES)
    log = _first(engine, container_id, path + "-wal", _LOG_HEADER_BYTES)
    if log and header[_LOG_VERSION] == b"\2\2":
        # With a log, only checkpoints write to the file, and they write what the log holds.
        return _State(log)
    journal_stat = stat_path(engine, container_id, path + "-journal")
    journal = _first(engine, container_id, path + "-journal", _JOURNAL_HEADER_BYTES)
    return _State(
        log,
        header,
        journal,
        stat.modified_at if stat else None,
        journal_stat.modified_at if journal_stat else None,
    )


def _first(engine: Engine, container_id: str, path: str, size: int) -> bytes:
    """Return the first bytes of a file, none if there is no such file."""
    if stat_path(engine, container_id, path) is None:
        return b""
    with _opened(engine, container_id, path) as file:
        return file.read(size)


def _fetch(engine: Engine, container_id: str, path: str, target: Path) -> None:
    with _opened(engine, container_id, path) as source, target.open("xb") as file:
        for data in source.content():
            check_reserve(target.parent)
            file.write(data)


@contextlib.contextmanager
def _opened(engine: Engine, container_id: str, path: str) -> Iterator[TarStream]:
    """Yield a stream that is at the file's content."""
    try:
        with read_archive(engine, container_id, path) as pieces:
            stream = TarStream(pieces)
            header = next(iter(stream), None)
            if header is None or not header.regular:
                raise _Changed
            yield stream
    except (NotFound, BackupInvalid) as error:
        # It went away, or became shorter while the engine read it.
        raise _Changed from error


def empty_folder(folder: Path) -> None:
    """Remove the files of a folder that is for a copy alone; raises OSError."""
    for path in folder.iterdir():
        path.unlink()


def examine(database: Path, *, is_new: bool) -> tuple[list[str], dict[str, int]]:
    """Return what ``PRAGMA integrity_check`` says, ``["ok"]`` if nothing, and the rows of each table.

    A new copy gets its log worked in, so that it is a single file; any other is not written to.
    Raises Interrupted.
    """
    uri = f"file:{quote(str(database))}?{'mode=rw' if is_new else 'mode=ro&immutable=1'}"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            connection.set_progress_handler(lambda: 0, _STEPS)
            if is_new:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            pragma = f"PRAGMA integrity_check({_MOST_MESSAGES})"
            complaints = [text for (text,) in connection.execute(pragma)]
            return complaints, _table_rows(connection)
    except sqlite3.Error as error:
        if error.sqlite_errorname == "SQLITE_INTERRUPT":
            raise Interrupted("Interrupted.") from error
        return [str(error)], {}


def _table_rows(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the rows of each table, SQLite's own and virtual ones left out."""
    rows = {}
    for (table,) in connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE"
        " 'CREATE VIRTUAL%' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    ).fetchall():
        quoted = '"' + table.replace('"', '""') + '"'
        count = connection.execute(f"SELECT count(*) FROM {quoted}")  # noqa: S608
        rows[table] = count.fetchone()[0]
    return rows
