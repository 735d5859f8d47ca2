"""What an upgrade to another PostgreSQL would do and what it did, as text and as JSON."""

import textwrap
from typing import TYPE_CHECKING, Any

from owctl.commands.changeover import journal_document
from owctl.context import Context
from owctl.figures import duration_text, readable, with_age

if TYPE_CHECKING:
    from owctl.upgrade.postgres.place import Journal
    from owctl.upgrade.postgres.plan import UpgradePlan
    from owctl.upgrade.postgres.run import UpgradeOutcome

_WIDTH = 76
_PHASES = {
    "preparing": "interrupted before anything was stopped: resume, or undo",
    "moving": "interrupted while the data was moved; the old database is in place: resume, or undo",
    "swapping": "interrupted in the swap: resume, or undo",
    "swapped": "in place: finish, or undo",
    "undoing": "interrupted while it was undone: undo",
    "finishing": "interrupted while it was finished: finish",
}


def plan_lines(plan: "UpgradePlan") -> list[str]:
    """Return what an upgrade would do, one line a thing."""

    place = plan.place
    free = "unknown" if plan.free_bytes is None else readable(plan.free_bytes)
    get = "" if plan.is_image_here else ", pulled or built first"
    size, needed = readable(plan.size_bytes), readable(plan.needed_bytes)
    lines = [
        f"from     PostgreSQL {place.old_major} ({place.old_image})",
        f"to       PostgreSQL {place.new_major or 'of the image'} ({place.new_image}{get})",
        f"volume   {place.volume}",
        f"room     {size} of data; {needed} needed, {free} free",
    ]
    if plan.facts is not None:
        for database in plan.facts.databases:
            names = ", ".join(name for name, _ in database.extensions)
            size = readable(database.size_bytes)
            lines.append(
                f"move     database {database.name} ({size}; extensions: {names or 'none'})"
            )
        lines.append(f"move     roles {', '.join(plan.facts.roles)}")
    lines.append("backup   database and configuration, verified")
    lines += [f"stop     {name}; started again afterwards" for name in plan.stops]
    lines.append(f"keep     the database of PostgreSQL {place.old_major}, until it is finished")
    if plan.stops:
        lines.append(f"time     services stand still for about {duration_text(plan.seconds)}")
    return lines


def show_plan(context: Context, plan: "UpgradePlan", output_format: str) -> None:
    """Print what would be done."""
    if output_format == "json":
        context.console.json(_plan_document(context.stack.project, plan))
        return
    for line in plan_lines(plan):
        context.console.result(line)


def show_outcome(context: Context, outcome: "UpgradeOutcome", output_format: str) -> None:
    """Say what was moved and proven, what is kept, and the two ways on."""

    console, journal = context.console, outcome.journal
    for warning in outcome.completed.warnings:
        console.warn(warning)
    if output_format == "json":
        console.json(_outcome_document(context.stack.project, outcome))
        return
    if console.quiet:
        console.result(journal.id)
        return
    console.result(f"Upgraded from PostgreSQL {journal.old_major} to {outcome.completed.version}:")
    for line in _proof_lines(outcome):
        console.result(f"  {line}")
    console.result("What was there before is kept:")
    console.result(
        f"  PostgreSQL {journal.old_major} in the volume {journal.volume}, "
        f"{readable(outcome.completed.kept_bytes)}"
    )
    console.result(f"  and the backup {journal.backup}")
    console.result("All is well: owctl upgrade --postgres-major finish")
    console.result("Back again: owctl upgrade --postgres-major undo")


def status_lines(journal: "Journal") -> list[str]:
    """Return what an upgrade under way has come to, one line a thing."""

    lines = [
        f"The {journal.name}, begun {with_age(journal.started_at)}",
        f"  phase   {journal.phase}: {_PHASES[journal.phase]}",
        f"  volume  {journal.volume}",
    ]
    return lines if journal.backup is None else [*lines, f"  backup  {journal.backup}"]


def _plan_document(project: str, plan: "UpgradePlan") -> dict[str, Any]:
    place, facts = plan.place, plan.facts
    databases = () if facts is None else facts.databases
    return {
        "schema": 1,
        "project": project,
        "dry_run": True,
        "service": place.service.name,
        "volume": place.volume,
        "old": {"major": place.old_major, "image": place.old_image},
        "new": {
            "major": place.new_major,
            "image": place.new_image,
            "image_is_here": plan.is_image_here,
        },
        "size_bytes": plan.size_bytes,
        "needed_bytes": plan.needed_bytes,
        "free_bytes": plan.free_bytes,
        "databases": [
            {
                "database": each.name,
                "size_bytes": each.size_bytes,
                "extensions": [name for name, _ in each.extensions],
            }
            for each in databases
        ],
        "roles": [] if facts is None else list(facts.roles),
        "stops": list(plan.stops),
        "estimated_seconds": plan.seconds,
    }


def _outcome_document(project: str, outcome: "UpgradeOutcome") -> dict[str, Any]:
    contents = outcome.proof.contents
    return {
        "schema": 1,
        "project": project,
        "dry_run": False,
        "upgrade": journal_document(outcome.journal),
        "server_version": outcome.completed.version,
        "rows": {table: rows for table, (rows, _) in contents.tables.items()},
        "sequences": len(contents.sequences),
        "objects": {kind: len(names) for kind, names in contents.objects.items()},
        "settings": list(outcome.proof.settings),
        "standstill_seconds": round(outcome.standstill_seconds, 1),
        "kept_bytes": outcome.completed.kept_bytes,
        "warnings": list(outcome.completed.warnings),
    }


def _proof_lines(outcome: "UpgradeOutcome") -> list[str]:
    contents = outcome.proof.contents
    objects = ", ".join(f"{kind} ({len(names)})" for kind, names in contents.objects.items())
    lines = [
        f"{contents.rows} rows in {len(contents.tables)} tables: the same number, the same content",
        f"sequences ({len(contents.sequences)}) at the same values",
        *textwrap.wrap(f"the same {objects}", _WIDTH, subsequent_indent="  "),
    ]
    if outcome.proof.settings:
        lines.append(f"settings taken over: {', '.join(outcome.proof.settings)}")
    if outcome.standstill_seconds:
        lines.append(f"services stood still for {duration_text(round(outcome.standstill_seconds))}")
    return lines
