"""What is found out before anything changes: source, target, room, what would be rejected."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from owctl.compose.model import Stack
from owctl.environment.masking import redacted
from owctl.errors import OwctlError
from owctl.migrate import passwords
from owctl.migrate.convert.column_map import Reject
from owctl.migrate.convert.json_text import JsonUnusable, clean_json, parsed
from owctl.migrate.convert.mapping import plan_tables
from owctl.migrate.folder import Journal
from owctl.migrate.load import target
from owctl.migrate.load.load import rehearse
from owctl.migrate.report.model import describe, meanings, source_document, to_do_before, totals
from owctl.migrate.report.rejects import account_document
from owctl.migrate.source import capture
from owctl.migrate.source.capture import capture_place, has_vector_folder, uploads_of
from owctl.migrate.source.database import SCRATCH_PREFIX, Source, Unreadable, open_source
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
    "rejected_rows": [], "rejected_accounts": [],
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
    with opened(engine, stack, journal, receive) as (source, vector_data):
        look = _look(engine, stack, receive)
        found = look[1] if look is not None else target.Look({}, "unknown", {}, 0)
        options, choice = steps.options(source, found), journal.choices.passwords
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
                "vector_data": vector_data,
            },
            "environment": _environment(steps, journal),
            **describe(source, options),
            "space": _space(steps, source, look[0].service if look else None),
        }
        if look is None:
            plan_tables(source, options)
            return {**document, "target": None, "to_do": to_do_before(document), **_NOTHING}
        refuse(steps, found, receive, only_look=only_look)
        rejected: list[dict[str, Any]] = []
        accounts: list[dict[str, Any]] = []
        result = rehearse(source, options, found, receive, _keeper(rejected, accounts))
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


@contextmanager
def opened(
    engine: "Engine", stack: Stack, journal: Journal, receive: Receiver
) -> Iterator[tuple[Source, bool]]:
    """Yield the source as it is now, from a temporary copy, and whether it has embeddings."""
    where = journal.origin
    if where["kind"] == "file":
        with open_source(Path(where["name"])) as source:
            yield source, has_vector_folder(Path(where["name"]))
        return
    with ScratchFolder(SCRATCH_PREFIX) as folder:
        if where["kind"] == "volume":
            image = Steps(engine, stack, journal, receive, 0).services.any_image()
            with capture.open_volume(engine, stack.project, image, where["name"]) as place:
                captured = capture_place(engine, place, folder, uploads=False)
        else:
            place = capture.find_container(engine, where["name"])
            captured = capture_place(engine, place, folder, uploads=False)
        with open_source(captured.database, private=True) as source:
            yield source, captured.vector_data


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


def _space(steps: Steps, source: Source, server: str | None) -> dict[str, Any]:
    where = steps.journal.origin
    folder = None
    if where["kind"] == "file":
        named = Path(where["uploads"]) if where["uploads"] else None
        folder = uploads_of(Path(where["name"]), named)
    container = steps.services.container_of(server) if server else None
    size = uploads_bytes(source, folder)
    return space_document(steps.engine, steps.stack.working_dir, source, size, container)


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
