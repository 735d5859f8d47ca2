"""The look before the leap: what a migration would do, read from a copy, with nothing written."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from owctl.compose.model import Stack
from owctl.environment.secrets import redacted
from owctl.errors import OwctlError
from owctl.migrate import accounts, origin, passwords, target
from owctl.migrate.capture import capture_place
from owctl.migrate.events import MigrationWarning, Receiver, ignore
from owctl.migrate.journal import Journal
from owctl.migrate.mapping import plan_tables
from owctl.migrate.model import Reject
from owctl.migrate.rehearsal import rehearse
from owctl.migrate.report import totals
from owctl.migrate.source import Source, open_source
from owctl.migrate.steps import Steps

if TYPE_CHECKING:
    from owctl.engine.connection import Engine

# What a load took on a machine of two cores, checks included; a guess for others.
_BYTES_A_SECOND = 25_000_000
# These are the stack's own affair, whatever the old backend had.
_NOT_CARRIED = frozenset(
    ("PATH", "HOME", "HOSTNAME", "PORT", "HOST", "ENV", "DATABASE_URL", "DATA_DIR", "UPLOAD_DIR")
)


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
    place = _place(engine, journal)
    with opened(engine, stack, journal, receive) as source:
        document: dict[str, Any] = {
            "schema": 1,
            "project": stack.project,
            "id": None,
            "status": "rehearsed",
            "sign_in": _sign_in(source, journal),
            "source": _source(source, journal),
            "settings": _settings(steps, place) if place is not None else [],
            "space": _space(source, stack),
        }
        look = _look(engine, stack, receive)
        if look is None:
            plan_tables(source, steps.options(source, target.Look({}, "unknown", {}, 0)))
            return {**document, "target": None, "tables": [], "totals": totals([])}
        place_of_target, found = look
        target.refuse_other_databases(
            steps.backend, steps.services.container_of(steps.backend.name)
        )
        target.refuse_without_tables(found, steps.backend.name)
        _refuse_or_warn(found, journal, receive, only_look=only_look)
        rejected: list[dict[str, Any]] = []

        def keep(reject: Reject) -> None:
            rejected.append(
                {
                    "table": reject.source_table,
                    "key": dict(reject.key),
                    "reason": reject.reason,
                    "detail": reject.detail,
                }
            )

        result = rehearse(source, steps.options(source, found), found, receive, keep)
    return {
        **document,
        "target": {
            "service": place_of_target.service,
            "address": str(place_of_target.address),
            "schema": found.schema,
            "server_version": found.server_version,
            "rows_before": found.filled,
        },
        "totals": totals(result["tables"]),
        **result,
        "rejected_rows": rejected,
    }


def _refuse_or_warn(
    found: target.Look, journal: Journal, receive: Receiver, *, only_look: bool
) -> None:
    try:
        target.refuse_unless_empty(found, replace=journal.choices.replace)
    except OwctlError as error:
        if not only_look:
            raise
        receive(MigrationWarning(f"{error.message} A migration would need --replace."))


@contextmanager
def opened(engine: "Engine", stack: Stack, journal: Journal, receive: Receiver) -> Iterator[Source]:
    """Yield the source as it is now, from a temporary copy."""
    where = journal.origin
    if where["kind"] == "file":
        with open_source(Path(where["name"])) as source:
            yield source
        return
    with tempfile.TemporaryDirectory(prefix="owctl-migrate-") as name:
        folder = Path(name)
        if where["kind"] == "volume":
            image = Steps(engine, stack, journal, receive, 0).services.any_image()
            with origin.open_volume(engine, stack.project, image, where["name"]) as place:
                captured = capture_place(engine, place, folder, uploads=False)
        else:
            place = origin.find_container(engine, where["name"])
            captured = capture_place(engine, place, folder, uploads=False)
        with open_source(captured.database, private=True) as source:
            yield source


def _look(
    engine: "Engine", stack: Stack, receive: Receiver
) -> tuple[target.Target, target.Look] | None:
    try:
        place = target.find_target(engine, stack)
        with target.connect(place) as connection:
            return place, target.look(connection)
    except OwctlError as error:
        receive(
            MigrationWarning(
                f"{error.message} What would become of each row is known only when the new stack "
                "runs: owctl start."
            )
        )
        return None


def _place(engine: "Engine", journal: Journal) -> origin.Place | None:
    if journal.origin["kind"] != "container":
        return None
    return origin.find_container(engine, journal.origin["name"])


def _sign_in(source: Source, journal: Journal) -> dict[str, Any]:
    choice = journal.choices.passwords
    made = passwords.count(accounts.accounts_of(source), choice, None)
    return {
        "choice": choice,
        "one_time": made.one_time,
        "kept": made.kept,
        "locked_out": made.locked_out,
        "inactive": made.inactive,
        "lines": made.lines(),
    }


def _source(source: Source, journal: Journal) -> dict[str, Any]:
    return {
        "kind": journal.origin["kind"],
        "name": journal.origin["name"],
        "version": source.version.name,
        "size_bytes": source.size_bytes,
        "damage": list(source.integrity),
    }


def _space(source: Source, stack: Stack) -> dict[str, int]:
    return {
        "copy_bytes": source.size_bytes,
        "free_bytes": shutil.disk_usage(stack.working_dir).free,
        "estimated_seconds": round(source.size_bytes / _BYTES_A_SECOND) + 1,
    }


def _settings(steps: Steps, place: origin.Place) -> list[dict[str, str | None]]:
    """Return the settings of the old container that the new backend knows and has otherwise."""
    new: Mapping[str, str | None] = steps.backend.environment
    return [
        {
            "name": name,
            "old": redacted(name, value),
            "new": redacted(name, new[name] or ""),
        }
        for name, value in sorted(place.settings.items())
        if name in new and name not in _NOT_CARRIED and value != (new[name] or "")
    ]
