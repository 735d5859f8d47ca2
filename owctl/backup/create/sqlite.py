"""A live SQLite file: copied so that it is consistent, without stopping who writes to it.

A database with a write-ahead log is its file plus that log. As long as the log was not begun anew
(its header tells: salts, checkpoint number), file first and log second make a whole, whatever was
written meanwhile: every page that changed under the copy is in the log. Without such a log, a
transaction changes the counter in the file's header, and one under way shows by its journal: then
file and journal make a whole if neither moved while both were read.
"""

import contextlib
import sqlite3
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

from owctl.backup.encryption import Encryption
from owctl.backup.inventory import VolumeSource
from owctl.backup.manifest import Member
from owctl.backup.member_file import MemberFile, cannot_write
from owctl.engine.archives import ArchiveStream, read_archive, stat_path
from owctl.engine.connection import Engine
from owctl.errors import NotFound
from owctl.volumes.space import check_reserve

_HEADER_BYTES = 100
_LOG_HEADER_BYTES = 32
_JOURNAL_HEADER_BYTES = 28
_ATTEMPTS = 5
# A small file is tried more often than that: its writer's pauses are long enough for a copy.
_PATIENCE_SECONDS = 5.0
_COPY_BYTES = 1024 * 1024
_LOG_VERSION = slice(18, 20)
_MOST_MESSAGES = 3


@dataclass(frozen=True, slots=True)
class SqliteCopy:
    """A member with a database that was copied; ``problems`` are SQLite's own words."""

    member: Member
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _State:
    """What changes when a database is written in a way that would spoil a copy."""

    log_header: bytes
    header: bytes = b""
    journal: bytes = b""
    modified_at: datetime | None = None
    journal_modified_at: datetime | None = None


def copy_database(
    engine: Engine,
    place: tuple[str, str],
    name: str,
    folder: Path,
    source: VolumeSource,
    encryption: Encryption | None = None,
) -> SqliteCopy | None:
    """Copy the database ``name`` of the volume at ``place``, check it, and store it in ``folder``.

    None if it was written to so much that no consistent copy could be had, or is gone. The copy
    has its log worked in: it is a single file. Raises OwctlError.
    """
    container_id, root = place
    path = f"{root.rstrip('/')}/{name}"
    work = folder / ".sqlite"
    try:
        work.mkdir(mode=0o700)
        try:
            if not fetch_database(engine, container_id, path, work / "copy"):
                return None
            return _store(work / "copy", folder, source, name, encryption)
        finally:
            _clear(work)
            work.rmdir()
    except OSError as error:
        raise cannot_write(work, error) from error


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
    _clear(target.parent)
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
        while data := source.read(_COPY_BYTES):
            check_reserve(target.parent)
            file.write(data)


@contextlib.contextmanager
def _opened(engine: Engine, container_id: str, path: str) -> Iterator[IO[bytes]]:
    try:
        with (
            read_archive(engine, container_id, path) as stream,
            tarfile.open(mode="r|", fileobj=cast("Any", _Reader(stream))) as archive,
        ):
            entry = archive.next()
            file = archive.extractfile(entry) if entry is not None else None
            if file is None:
                raise _Changed
            yield file
    except (NotFound, tarfile.TarError) as error:
        # It went away, or became shorter while the engine read it.
        raise _Changed from error


class _Reader:
    """The ``read`` that tarfile wants, over an archive stream."""

    def __init__(self, stream: ArchiveStream) -> None:
        self._stream = stream
        self._pending = b""

    def read(self, size: int) -> bytes:
        while len(self._pending) < size:
            piece = next(self._stream, b"")
            if not piece:
                break
            self._pending += piece
        data, self._pending = self._pending[:size], self._pending[size:]
        return data


def _store(
    copy: Path, folder: Path, volume: VolumeSource, name: str, encryption: Encryption | None
) -> SqliteCopy:
    problems, rows = _check(copy)
    with MemberFile(folder, f"sqlite/{volume.key}/{name}.zst", encryption=encryption) as file:
        with copy.open("rb") as source:
            while data := source.read(_COPY_BYTES):
                file.write(data)
        stored = file.finish()
    member = Member(
        name=stored.name,
        kind="sqlite",
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        content_size_bytes=stored.content_size_bytes,
        detail={
            "volume": volume.key,
            "part": volume.part,
            "path": name,
            "integrity_check": list(problems) or ["ok"],
            "rows": rows,
        },
    )
    return SqliteCopy(member, problems)


def _check(copy: Path) -> tuple[tuple[str, ...], dict[str, int]]:
    """Work the log in, and return SQLite's complaints and the rows of each table."""
    rows: dict[str, int] = {}
    try:
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            found = connection.execute(f"PRAGMA integrity_check({_MOST_MESSAGES})").fetchall()
            rows = table_rows(connection)
    except sqlite3.Error as error:
        return (str(error),), rows
    return tuple(message for (message,) in found if message != "ok"), rows


def _clear(work: Path) -> None:
    for path in work.iterdir():
        path.unlink()


def table_rows(connection: sqlite3.Connection) -> dict[str, int]:
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
