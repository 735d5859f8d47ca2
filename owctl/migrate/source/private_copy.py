"""A private copy of a SQLite file, taken while others write to it, and what can be salvaged of a damaged one."""

import itertools
import shutil
import sqlite3
import time
from array import array
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from owctl.errors import OwctlError
from owctl.figures import readable
from owctl.migrate.convert.values import Raw, quoted

# -- Reads what can be read of a table some pages of which are damaged.


_ROWID_NAMES = ("rowid", "_rowid_", "oid")


def rowid_name(connection: sqlite3.Connection, table: str) -> str | None:
    """Return a name of the row's own number that no column takes; None where rows have none."""
    found = connection.execute(f"PRAGMA table_xinfo({quoted(table)})").fetchall()
    taken = {row[1].decode("utf-8", "replace").lower() for row in found}
    for name in _ROWID_NAMES:
        if name not in taken:
            try:
                connection.execute(f"SELECT {name} FROM {quoted(table)} LIMIT 0")
            except sqlite3.OperationalError:  # made WITHOUT ROWID
                return None
            return name
    return None


def find_rowids(connection: sqlite3.Connection, table: str, number: str) -> Sequence[int]:
    """Return the rowids of the table, ascending: those that a walk from either end meets, and
    those that an index still knows of. A row that none of them names cannot be told from nothing.

    ``number`` is the rowid's name there.
    """
    found: set[int] = set()
    name = quoted(table)
    for order in ("ASC", "DESC"):
        _collect(
            connection, f"SELECT {number} FROM {name} NOT INDEXED ORDER BY {number} {order}", found
        )
    for index in _indexes(connection, table):
        _collect(connection, f"SELECT {number} FROM {name} INDEXED BY {quoted(index)}", found)
    _fill_between(connection, name, number, found)
    return array("q", sorted(found))


def read_row(
    connection: sqlite3.Connection, table: str, number: str, columns: Sequence[str], rowid: int
) -> tuple[Raw, ...] | str:
    """Return the columns of a row, or why it cannot be read."""
    names = ", ".join(map(quoted, columns)) or "NULL"
    try:
        row: tuple[Raw, ...] | None = connection.execute(
            f"SELECT {names} FROM {quoted(table)} NOT INDEXED WHERE {number} = ?", (rowid,)
        ).fetchone()
    except sqlite3.DatabaseError as error:
        return str(error)
    if row is None:
        return "an index names the row, but the table does not have it"
    return row if columns else ()


def _collect(connection: sqlite3.Connection, statement: str, found: set[int]) -> None:
    try:
        for (rowid,) in connection.execute(statement):
            found.add(rowid)
    except sqlite3.DatabaseError:
        return


def _fill_between(connection: sqlite3.Connection, name: str, number: str, found: set[int]) -> None:
    """Walk on behind each damaged page: from every known rowid whose successor is unknown."""
    known = sorted(found)
    for rowid, following in itertools.pairwise(known):
        if following > rowid + 1:
            _collect(
                connection,
                f"SELECT {number} FROM {name} NOT INDEXED"
                f" WHERE {number} > {rowid} AND {number} < {following}",
                found,
            )


def _indexes(connection: sqlite3.Connection, table: str) -> list[str]:
    try:
        rows = connection.execute(f"PRAGMA index_list({quoted(table)})").fetchall()
    except sqlite3.DatabaseError:
        return []
    return [row[1].decode("utf-8", "replace") for row in rows if not row[4]]


# -- A private, consistent copy of a SQLite database that may be in use, without a trace at its side.
# A reader of a database in WAL mode makes ``-shm`` and ``-wal`` files where there are none, and as
# root it would make them so that the backend cannot open them again; where they are there, it writes
# to ``-shm``. So the database is opened only in rollback mode. In WAL mode the files are copied as
# they are, the log last, and SQLite recovers in the copy: only checkpoints write to the file, and they
# write what the log holds, so both belong together if the log was not begun anew meanwhile.


MAGIC = b"SQLite format 3\x00"
_WAL_VERSION = 2
# A step of the copy holds the reader's lock for some milliseconds; a writer fits in between.
_PAGES_A_STEP = 2048
_RESTARTS = 3
_ATTEMPTS = 3
_PAUSE_SECONDS = 0.05
_LOG_HEADER_BYTES = 32
_SIDE_FILES = ("-wal", "-journal")


def copy_database(path: Path, copy: Path, *, lock_wait_seconds: float = 30.0) -> None:
    """Write a consistent copy of the database at ``path`` to ``copy``; ``path`` is not changed.

    Raises OwctlError where the file cannot be read, is encrypted or no database, stays locked for
    ``lock_wait_seconds``, or does not fit on the disk.
    """
    header = read_header(path)
    _require_space(path, copy.parent)
    # SQLite would fill up the last page of a file that was cut off, and nobody could see it any more.
    if not _has_log(header) and not is_cut_off(header, path.stat().st_size):
        try:
            _backup(path, copy, lock_wait_seconds)
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                raise _locked(path, lock_wait_seconds) from error
            # A hot journal on a read-only mount, or a mount without locks.
            _copy_files(path, copy, lock_wait_seconds)
        except sqlite3.DatabaseError:
            # Damaged: SQLite reads what it can from the copy.
            _copy_files(path, copy, lock_wait_seconds)
    else:
        _copy_files(path, copy, lock_wait_seconds)


def read_header(path: Path) -> bytes:
    """Return the first 100 bytes; raises OwctlError where they are not those of a database."""
    try:
        if not path.is_file():
            kind = "no regular file" if path.exists() else "no such file"
            kind = "a folder" if path.is_dir() else kind
            raise OwctlError(f"cannot read {path}: {kind}", hint="name the webui.db itself")
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise OwctlError(
            f"cannot read {path}: {error.strerror}", hint="run as a user who may read it"
        ) from error
    if not header:
        raise OwctlError(f"{path} is empty (0 bytes)", hint="name the old backend's webui.db")
    if header[:16] != MAGIC:
        raise _not_a_database(path, header)
    return header


def is_cut_off(header: bytes, size_bytes: int) -> bool:
    """Tell whether a database's file ends in the middle of a page."""
    page_bytes = int.from_bytes(header[16:18], "big")
    page_bytes = 65536 if page_bytes == 1 else page_bytes
    return page_bytes > 0 and size_bytes % page_bytes != 0


def _not_a_database(path: Path, header: bytes) -> OwctlError:
    looks_random = len(header) >= 64 and len(set(header[:64])) > 40
    if looks_random:
        return OwctlError(
            f"{path} is encrypted (SQLCipher?) or no SQLite database",
            hint="export it without encryption first (sqlcipher_export), then migrate that file",
        )
    return OwctlError(
        f"{path} is no SQLite database",
        hint="name the old backend's webui.db, not a dump or archive",
    )


def _has_log(header: bytes) -> bool:
    return len(header) > 19 and _WAL_VERSION in (header[18], header[19])


def _require_space(path: Path, folder: Path) -> None:
    wal = Path(f"{path}-wal")
    needed_bytes = path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise OwctlError(
            f"no room for a copy of {path} in {folder}: "
            f"{readable(needed_bytes)} needed, {readable(free_bytes)} free",
            hint="free some space, or set TMPDIR to a folder on a larger disk",
        )


def _backup(path: Path, copy: Path, lock_wait_seconds: float) -> None:
    source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)
    with closing(source), closing(sqlite3.connect(copy)) as target:
        progress = _Progress(lock_wait_seconds)
        try:
            source.backup(target, pages=_PAGES_A_STEP, progress=progress, sleep=0.02)
        except _WritesTooOften:
            # In one step no writer comes in between.
            whole = _Progress(lock_wait_seconds, restarts=None)
            source.backup(target, pages=-1, progress=whole, sleep=0.02)


class _WritesTooOften(Exception):
    """A writer made the copy begin again several times."""


class _Progress:
    """Ends a copy that makes no progress: locked for too long, or begun again too often."""

    def __init__(self, lock_wait_seconds: float, *, restarts: int | None = _RESTARTS) -> None:
        self._wait_seconds = lock_wait_seconds
        self._deadline = time.monotonic() + lock_wait_seconds
        self._restarts = restarts
        self._remaining: int | None = None

    def __call__(self, status: int, remaining: int, _total: int) -> None:
        now = time.monotonic()
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            if now > self._deadline:
                raise sqlite3.OperationalError("database is locked")
            return
        self._deadline = now + self._wait_seconds
        if (
            self._remaining is not None
            and remaining > self._remaining
            and self._restarts is not None
        ):
            self._restarts -= 1
            if self._restarts < 0:
                raise _WritesTooOften
        self._remaining = remaining


def _locked(path: Path, seconds: float) -> OwctlError:
    return OwctlError(
        f"{path} stayed locked for {seconds:g} s: something is writing to it without a pause",
        hint="stop the old backend, then run this again",
    )


def _copy_files(path: Path, copy: Path, patience_seconds: float) -> None:
    """Copy the database with its log as they are; again if they do not belong together."""
    began, attempts = time.monotonic(), 0
    while attempts < _ATTEMPTS or time.monotonic() - began < patience_seconds:
        if attempts:
            time.sleep(_PAUSE_SECONDS)
        attempts += 1
        before = _fingerprint(path)
        try:
            for suffix in ("", *_SIDE_FILES):
                Path(f"{copy}{suffix}").unlink(missing_ok=True)
                if Path(f"{path}{suffix}").exists():
                    shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        except OSError as error:
            raise OwctlError(f"cannot copy {path}: {error.strerror}") from error
        if _fingerprint(path) == before:
            return
    raise OwctlError(
        f"{path} changes while it is copied", hint="stop the old backend, then run this again"
    )


def _fingerprint(path: Path) -> list[tuple[int, int] | bytes | None]:
    """Return what changes when the files do: of a database with a log, the log's beginning."""
    log = _beginning(Path(f"{path}-wal"), _LOG_HEADER_BYTES)
    if log and _has_log(_beginning(path, 100)):
        return [log]
    found: list[tuple[int, int] | bytes | None] = []
    for suffix in ("", *_SIDE_FILES):
        try:
            status = Path(f"{path}{suffix}").stat()
            found.append((status.st_size, status.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return found


def _beginning(path: Path, size_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size_bytes)
    except OSError:
        return b""
