"""What is found out before anything changes: source, target, room, what would be rejected."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from owctl.compose.model import Stack
from owctl.environment.masking import redacted
from owctl.errors import OwctlError
from owctl.migrate import passwords
from owctl.migrate.convert.column_map import Converted, Notes, Options, Reject, Value
from owctl.migrate.convert.mapping import convert, plan_tables
from owctl.migrate.folder import Journal
from owctl.migrate.load import target
from owctl.migrate.load.files import (
    StoredFile,
    files_document,
    folder_sizes,
    foretell_files,
    place_sizes,
)
from owctl.migrate.load.load import rehearse
from owctl.migrate.report.document import to_do_before, totals
from owctl.migrate.report.model import describe, meanings, source_document
from owctl.migrate.report.rejects import account_document
from owctl.migrate.source import capture
from owctl.migrate.source.capture import capture_place, has_vector_folder, uploads_of
from owctl.migrate.source.database import SCRATCH_PREFIX, Source, open_source
from owctl.migrate.steps import Steps
from owctl.progress import Receiver, ignore, warning
from owctl.scratch_folder import ScratchFolder
from owctl.volumes.space import free_bytes

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container


# -- How much room a migration takes, how much there is, and how long it will be about.


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


def _free_in(engine: "Engine", server: "Container") -> int | None:
    from owctl.volumes.space import disk_of

    disk = disk_of(engine, server, server.environment.get("PGDATA") or _DATA_FOLDER)
    return None if disk is None else disk.free_bytes


# -- The look before the leap: what a migration would do, read from a copy, with nothing written.


# These are the stack's own affair, whatever the old backend had.
_NOT_CARRIED = frozenset(
    ("PATH", "HOME", "HOSTNAME", "PORT", "HOST", "ENV", "DATABASE_URL", "DATA_DIR", "UPLOAD_DIR")
)
# Of a target that does not run yet.
_NOTHING: dict[str, Any] = {
    "tables": [], "totals": totals([]), "notes": [], "changes": [], "meanings": {},
    "rejected_rows": [], "rejected_accounts": [], "files": None,
}  # fmt: skip


def examine(
    engine: "Engine",
    stack: Stack,
    journal: Journal,
    receive: Receiver = ignore,
    *,
    only_look: bool = False,
) -> dict[str, Any]:
    """Return the report of a rehearsal; ``journal`` says of what, and is not written.

    Raises OwctlError for what would stop the migration; a target that is not empty is only warned
    of where ``only_look`` says that no migration follows. Where PostgreSQL does not run, what it
    would take is not known: then ``tables`` is empty, and a warning is given.
    """
    steps = Steps(engine, stack, journal, receive, 0)
    with opened(engine, stack, journal, receive) as there:
        source, look = there.source, _look(engine, stack, receive)
        found = look[1] if look is not None else target.Look({}, "unknown", {}, 0)
        options = steps.options(source, found, there.upload_names)
        choice = journal.choices.passwords
        document: dict[str, Any] = {
            "schema": 1,
            "project": stack.project,
            "id": None,
            "status": "rehearsed",
            "sign_in": passwords.document(
                passwords.foretell(source, options if look else None, choice), choice
            ),
            "source": {
                "kind": journal.origin["kind"],
                "name": journal.origin["name"],
                **source_document(source),
                "vector_data": there.vector_data,
            },
            "environment": _environment(steps, journal),
            **describe(source, options),
            "space": _space(steps, there, look[0].service if look else None),
        }
        if look is None:
            plan_tables(source, options)
            document |= {"target": None, **_NOTHING}
            return {**document, "to_do": to_do_before(document)}
        refuse(steps, found, receive, only_look=only_look)
        rejected: list[dict[str, Any]] = []
        accounts: list[dict[str, Any]] = []
        result = rehearse(source, options, found, receive, _keeper(rejected, accounts))
        files = _files(there, options)
    document |= {
        "target": {
            "service": look[0].service,
            "address": str(look[0].address),
            "database": look[0].database,
            "schema": found.schema,
            "server_version": found.server_version,
            "rows_before": found.filled,
        },
        "totals": totals(result["tables"]),
        **result,
        "files": files,
        "meanings": meanings(result["tables"], result["notes"]),
        "rejected_rows": rejected,
        "rejected_accounts": accounts,
    }
    return {**document, "to_do": to_do_before(document)}


def refuse(steps: Steps, found: target.Look, receive: Receiver, *, only_look: bool) -> None:
    """Raise OwctlError for a target that cannot be loaded; warn of one that merely is not empty."""
    backend = steps.backend
    target.refuse_other_databases(backend, steps.services.container_of(backend.name))
    target.refuse_without_tables(found, backend.name)
    try:
        target.refuse_unless_empty(found, replace=steps.journal.choices.replace)
    except OwctlError as error:
        if not only_look:
            raise
        receive(warning(f"{error.message} A migration would need --replace."))


def _keeper(
    rejected: list[dict[str, Any]], accounts: list[dict[str, Any]]
) -> Callable[[Reject], None]:
    def keep(reject: Reject) -> None:
        if reject.source_table == "user":
            accounts.append(account_document(reject.row, reject.reason, reject.detail))
        rejected.append(
            {
                "table": reject.source_table,
                "key": dict(reject.key),
                "reason": reject.reason,
                "detail": reject.detail,
            }
        )

    return keep


@dataclass(frozen=True, slots=True)
class Opened:
    """The source as it is now; ``upload_sizes`` by name, None where there is no folder of uploads."""

    source: Source
    vector_data: bool
    upload_sizes: Mapping[str, int] | None

    @property
    def upload_names(self) -> frozenset[str] | None:
        """What the uploaded files are called."""
        return None if self.upload_sizes is None else frozenset(self.upload_sizes)


@contextmanager
def opened(engine: "Engine", stack: Stack, journal: Journal, receive: Receiver) -> Iterator[Opened]:
    """Yield the source from a temporary copy of its database."""
    where = journal.origin
    if where["kind"] == "file":
        path = Path(where["name"])
        named = Path(where["uploads"]) if where["uploads"] else None
        folder = uploads_of(path, named)
        with open_source(path) as source:
            sizes = None if folder is None else folder_sizes(folder)
            yield Opened(source, has_vector_folder(path), sizes)
        return
    with ScratchFolder(SCRATCH_PREFIX) as scratch:
        if where["kind"] == "volume":
            image = Steps(engine, stack, journal, receive, 0).services.any_image()
            with capture.open_volume(engine, stack.project, image, where["name"]) as place:
                captured = capture_place(engine, place, scratch, uploads=False)
                sizes = place_sizes(engine, place)
        else:
            place = capture.find_container(engine, where["name"])
            captured = capture_place(engine, place, scratch, uploads=False)
            sizes = place_sizes(engine, place)
        with open_source(captured.database, private=True) as source:
            yield Opened(source, captured.vector_data, sizes)


def _look(
    engine: "Engine", stack: Stack, receive: Receiver
) -> tuple[target.Target, target.Look] | None:
    try:
        place = target.find_target(engine, stack)
        with target.connect(place) as connection:
            return place, target.look(connection)
    except OwctlError as error:
        receive(
            warning(
                f"{error.message} What would become of each row is known only when the new stack "
                "runs: owctl start."
            )
        )
        return None


def _space(steps: Steps, there: Opened, server: str | None) -> dict[str, Any]:
    container = steps.services.container_of(server) if server else None
    size = sum((there.upload_sizes or {}).values())
    return space_document(steps.engine, steps.stack.working_dir, there.source, size, container)


def _files(there: Opened, options: Options) -> dict[str, Any]:
    """Return what would become of the uploaded files."""
    old = passwords.paths_of(there.source)
    rows = []
    maps = {each.target: each for each in plan_tables(there.source, options)}
    if table_map := maps.get("file"):
        place = [table_map.columns.index(name) for name in ("id", "path")]
        for row in convert(there.source, table_map, options, Notes()):
            if isinstance(row, Converted):
                key, path = (_text(row.values[number]) for number in place)
                named = old.pop(key, "") or path
                rows += [StoredFile(key, named, path)] if path else []
    sizes = there.upload_sizes or {}
    return files_document(foretell_files(rows, old.values(), options.upload_dir, sizes))


def _text(value: Value) -> str:
    return value.decode() if isinstance(value, bytes) else ""


def _environment(steps: Steps, journal: Journal) -> list[dict[str, str | None]]:
    """Return the variables of the old container that the new backend knows and has otherwise."""
    if journal.origin["kind"] != "container":
        return []
    old = capture.find_container(steps.engine, journal.origin["name"]).settings
    new: Mapping[str, str | None] = steps.backend.environment
    return [
        {
            "name": name,
            "old": redacted(name, value),
            "new": redacted(name, new[name] or ""),
        }
        for name, value in sorted(old.items())
        if name in new and name not in _NOT_CARRIED and value != (new[name] or "")
    ]
