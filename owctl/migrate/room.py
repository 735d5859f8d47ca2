"""How much room a migration takes, how much there is, and how long it will be about."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from owctl.backup.space import free_bytes
from owctl.migrate.json_repair import JsonUnusable
from owctl.migrate.json_text import clean_json, parsed
from owctl.migrate.source import Source, Unreadable

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container

# Rows and indexes of PostgreSQL beside those of SQLite; the log of the transaction comes on top.
_TABLES_SHARE, _LOG_SHARE = 1.3, 1.0
# What a load and a copy of files took on a machine of two cores, checks included.
_ROWS_BYTES_A_SECOND, _FILES_BYTES_A_SECOND = 25_000_000, 60_000_000
# Stopping, starting and proving, which does not depend on how much there is.
_AROUND_SECONDS = 30
_DATA_FOLDER = "/var/lib/postgresql/data"


def space_document(
    engine: "Engine",
    working_dir: Path,
    source: Source,
    files_bytes: int,
    server: "Container | None",
) -> dict[str, Any]:
    """Return what a migration needs and what is free; ``server`` is PostgreSQL's, if it runs.

    ``copy_*`` is the project's folder, which gets the captured copy; ``database_*`` is the disk
    of PostgreSQL. ``database_free_bytes`` is None where it cannot be asked.
    """
    rows = source.size_bytes
    return {
        "copy_bytes": rows + files_bytes,
        "free_bytes": free_bytes(working_dir),
        "uploads_bytes": files_bytes,
        "database_bytes": int(rows * (_TABLES_SHARE + _LOG_SHARE)),
        "database_free_bytes": None if server is None else _free_in(engine, server),
        "estimated_seconds": _AROUND_SECONDS
        + round(rows / _ROWS_BYTES_A_SECOND + files_bytes / _FILES_BYTES_A_SECOND),
    }


def uploads_bytes(source: Source, folder: Path | None) -> int:
    """Return how large the uploads are: the files of ``folder``, else what the database says.

    What the database says leaves out rows that do not tell.
    """
    if folder is None:
        return _recorded_bytes(source)
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _recorded_bytes(source: Source) -> int:
    if "meta" not in source.columns.get("file", ()):
        return 0
    total = 0
    for row in source.rows("file", ("meta",)):
        if not isinstance(row, Unreadable):
            total += _recorded(row[1][0])
    return total


def _recorded(raw: bytes | float | None) -> int:
    try:
        content = parsed(clean_json(raw)[0])
    except (JsonUnusable, RecursionError):
        return 0
    size = content.get("size") if isinstance(content, dict) else None
    return size if type(size) is int and size > 0 else 0


def _free_in(engine: "Engine", server: "Container") -> int | None:
    from owctl.backup.restore.room import disk_of

    disk = disk_of(engine, server, server.environment.get("PGDATA") or _DATA_FOLDER)
    return None if disk is None else disk.free_bytes
