"""Where the data really is: a SQLite file in a volume beside a PostgreSQL that nobody uses."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from owctl.compose.services import choose_probe
from owctl.doctor.finding import Finding, Situation
from owctl.health.parallel import at_once
from owctl.postgres.files import data_folder
from owctl.postgres.place import DatabasePlace, Elsewhere, find_place

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container

# How a volume may be called that is not there yet.
_WORDS = ("data", "files", "data2")
_MAGIC = b"SQLite format 3\0"
_SECONDS = 5
# Tried by name where no command can be run to look: the container is stopped, or has no find.
_KNOWN_NAMES = (
    "webui.db", "open_webui.db", "open-webui.db", "openwebui.db", "data.db", "database.db",
    "database.sqlite", "db.sqlite3", "open_webui.sqlite",
)  # fmt: skip
_SQLITE_URL = re.compile(r"sqlite\w*:(?://)?(/?[^?\s]+)")
_FIND = (
    "-maxdepth", "2", "-type", "f", "-size", "+0", "(", "-name", "*.db", "-o", "-name", "*.sqlite*",
    ")", "!", "-name", "*-wal", "!", "-name", "*-shm", "!", "-name", "*-journal",
)  # fmt: skip
# In whatever schema the application's role keeps them; enormous ones are not counted to their end.
_COUNT = r"""
SELECT format('SELECT %L || count(*) FROM (SELECT FROM %I.%I LIMIT 100000) AS found',
  c.relname || '=', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relname IN ('user', 'chat') AND n.nspname !~ '^pg_' \gexec
"""


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A SQLite database in a volume of the stack."""

    path: str
    service: str
    volume: str
    size_bytes: int
    modified_at: datetime


def check_data(situation: Situation) -> tuple[Finding, ...]:
    """Say which database holds the application's data. Raises the engine's errors."""
    place = find_place(situation.stack, situation.containers)
    if isinstance(place, Elsewhere):
        return (
            Finding(
                "data",
                "warning",
                f"the database is outside of this stack, at {place.host} (DATABASE_URL of "
                f"{place.backend}): no backup of owctl has it",
                "back it up where it is, such as by pg_dump there",
                subject=place.backend,
            ),
        )
    files: list[SqliteFile] = []
    rows: dict[str, int] | None = None

    def look_for_files() -> None:
        files.extend(_sqlite_files(situation))

    def count_rows() -> None:
        nonlocal rows
        rows = _application_rows(situation)

    at_once([look_for_files, count_rows])
    return (_of_application(files, rows), *_unnamed(situation))


def _of_application(files: list[SqliteFile], rows: dict[str, int] | None) -> Finding:
    in_postgres = None if rows is None else sum(rows.values())
    if not files:
        return Finding("data", *_without_sqlite(rows))
    file = max(files, key=lambda each: each.modified_at)
    when = file.modified_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    what = (
        f"{file.path} of {file.service} (volume {file.volume}) is a SQLite database, "
        f"{file.size_bytes / 1e6:.1f} MB, last written {when}"
    )
    if in_postgres:
        detail = f"{what}; PostgreSQL has data too ({_counts(rows)})"
        hint = "find out which of them the backend uses before you rely on either"
        return Finding("data", "warning", detail, hint, subject=file.service)
    state = "cannot be asked now" if rows is None else "has no application data"
    return Finding(
        "data",
        "warning",
        f"{what}; PostgreSQL {state}",
        "the data is in that file: owctl backup covers it; a dump of PostgreSQL alone does not",
        subject=file.service,
    )


def _unnamed(situation: Situation) -> Iterator[Finding]:
    """Yield a warning for each database whose data is in no volume that has a name."""
    for service in situation.stack.services.values():
        image = situation.image(service)
        folders = {"postgres": data_folder(service, image), "redis": PurePosixPath("/data")}
        folder = folders.get(choose_probe(service).type)
        if folder is None or image is None:
            continue
        of_image = (image.raw.get("Config") or {}).get("Volumes") or {}
        # True for one that has a name; the files' have the last word.
        places = dict.fromkeys((target.rstrip("/") for target in of_image), False)
        places |= {m.target: bool(m.source) or m.type == "tmpfs" for m in service.mounts}
        around = [target for target in places if folder.is_relative_to(target)]
        deepest = max(around, key=len, default=None)
        if deepest is None and choose_probe(service).type == "postgres":
            where = "in its container itself: whatever replaces that takes the data away"
        elif deepest is not None and not places[deepest]:
            where = (
                f"in a volume without a name, at {deepest}: with its container gone (docker compose "
                "down) nobody knows whose it is"
            )
        else:
            continue
        taken = {mount.source for mount in service.mounts}
        key = next(k for k in (f"{service.name}_{w}" for w in _WORDS) if k not in taken)
        yield Finding(
            "data",
            "warning",
            f"{service.name} keeps its data ({folder}) {where}",
            f"owctl backup; then write `- {key}:{folder}` under the volumes of {service.name}, and "
            f"`{key}:` under the top-level volumes; owctl start --recreate {service.name}; owctl "
            "restore latest",
            subject=service.name,
        )


def _without_sqlite(rows: dict[str, int] | None) -> tuple[Literal["ok", "skipped"], str]:
    if rows is None:
        return "skipped", "no SQLite file found; PostgreSQL cannot be asked now"
    if not any(rows.values()):
        return "ok", "no accounts and no chats yet"
    return "ok", f"in PostgreSQL: {_counts(rows)}"


def _counts(rows: dict[str, int] | None) -> str:
    found = rows or {}
    return f"{found.get('user', 0)} accounts, {found.get('chat', 0)} chats"


def _application_rows(situation: Situation) -> dict[str, int] | None:
    """Return the rows of the application's tables, None where they cannot be counted."""
    from owctl.postgres.place import server_in

    place = find_place(situation.stack, situation.containers)
    if not isinstance(place, DatabasePlace):
        return {}
    running = next((c for c in situation.of(place.name) if c.is_running), None)
    if running is None:
        return None
    server = server_in(situation.engine, running, place.database)
    server = server.with_variables(
        PGCONNECT_TIMEOUT="3", PGOPTIONS="-c statement_timeout=1500 -c search_path="
    )
    answer = server.run(_COUNT, timeout_seconds=_SECONDS)
    if answer.exit_code:
        return None
    found = {"user": 0, "chat": 0}
    for line in answer.stdout.decode().split():
        name, _, count = line.partition("=")
        found[name] += int(count)
    return found


def _sqlite_files(situation: Situation) -> list[SqliteFile]:
    # The databases' own volumes are no place for another database's file.
    others = {
        name
        for name, service in situation.stack.services.items()
        if choose_probe(service).type not in ("postgres", "redis")
    }
    places = {
        mount.name or mount.source: (container, mount.destination)
        for container in situation.containers
        for mount in container.mounts
        if container.service in others and mount.type in ("volume", "bind") and mount.read_write
    }
    found = at_once(
        [
            partial(_in_volume, situation.engine, container, folder, volume)
            for volume, (container, folder) in places.items()
        ]
    )
    return [file for files in found for file in files]


def _in_volume(
    engine: "Engine", container: "Container", folder: str, volume: str
) -> list[SqliteFile]:
    looked_at = (
        _look(engine, container, path, volume) for path in _candidates(engine, container, folder)
    )
    return [file for file in looked_at if file is not None]


def _candidates(engine: "Engine", container: "Container", folder: str) -> list[str]:
    from owctl.engine.execution import run

    named = [
        match[1]
        for value in container.environment.values()
        if (match := _SQLITE_URL.match(value)) and match[1].startswith(f"{folder.rstrip('/')}/")
    ]
    if container.is_running:
        answer = run(engine, container.id, ["find", folder, *_FIND], timeout_seconds=_SECONDS)
        if answer.exit_code not in (126, 127):
            listed = answer.stdout.decode("utf-8", "replace").splitlines()
            return list(dict.fromkeys([*named, *listed]))
    return list(dict.fromkeys([*named, *(f"{folder.rstrip('/')}/{n}" for n in _KNOWN_NAMES)]))


def _look(engine: "Engine", container: "Container", path: str, volume: str) -> SqliteFile | None:
    from owctl.engine.archives import read_start, stat_path

    stat = stat_path(engine, container.id, path)
    if stat is None or stat.is_directory:
        return None
    if read_start(engine, container.id, path, len(_MAGIC)) != _MAGIC:
        return None
    log = stat_path(engine, container.id, f"{path}-wal")
    modified = max(stat.modified_at, log.modified_at) if log else stat.modified_at
    return SqliteFile(path, container.service, volume, stat.size_bytes, modified)
