"""``owctl upgrade --postgres-major``: the database to another major, on or back; what it would do and what it did."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from owctl.commands.changeover import (
    End,
    end_changeover,
    journal_document,
    require_journal,
    resume_changeover,
    show_end,
    show_resumed,
    show_status,
)
from owctl.commands.options import Run
from owctl.context import Context
from owctl.errors import UsageError
from owctl.figures import duration_text, readable, with_age
from owctl.ui.console import json_document

if TYPE_CHECKING:
    from owctl.commands.progress import Display
    from owctl.compose.model import Stack
    from owctl.upgrade.postgres.place import Journal
    from owctl.upgrade.postgres.plan import UpgradePlan, UpgradeRequest
    from owctl.upgrade.postgres.run import UpgradeOutcome


# -- What an upgrade to another PostgreSQL would do and what it did, as text and as JSON.


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
    return json_document(
        project,
        dry_run=True,
        service=place.service.name,
        volume=place.volume,
        old={"major": place.old_major, "image": place.old_image},
        new={
            "major": place.new_major,
            "image": place.new_image,
            "image_is_here": plan.is_image_here,
        },
        size_bytes=plan.size_bytes,
        needed_bytes=plan.needed_bytes,
        free_bytes=plan.free_bytes,
        databases=[
            {
                "database": each.name,
                "size_bytes": each.size_bytes,
                "extensions": [name for name, _ in each.extensions],
            }
            for each in databases
        ],
        roles=[] if facts is None else list(facts.roles),
        stops=list(plan.stops),
        estimated_seconds=plan.seconds,
    )


def _outcome_document(project: str, outcome: "UpgradeOutcome") -> dict[str, Any]:
    contents = outcome.proof.contents
    return json_document(
        project,
        dry_run=False,
        upgrade=journal_document(outcome.journal),
        server_version=outcome.completed.version,
        rows={table: rows for table, (rows, _) in contents.tables.items()},
        sequences=len(contents.sequences),
        objects={kind: len(names) for kind, names in contents.objects.items()},
        settings=list(outcome.proof.settings),
        standstill_seconds=round(outcome.standstill_seconds, 1),
        kept_bytes=outcome.completed.kept_bytes,
        not_made=[each.to_json() for each in outcome.proof.not_made],
        warnings=list(outcome.completed.warnings),
    )


def _proof_lines(outcome: "UpgradeOutcome") -> list[str]:
    contents = outcome.proof.contents
    objects = ", ".join(f"{kind} ({len(names)})" for kind, names in contents.objects.items())
    lines = [
        f"{contents.rows} rows in {len(contents.tables)} tables: the same number, the same content",
        f"sequences ({len(contents.sequences)}) at the same values",
        *textwrap.wrap(f"the same {objects}", _WIDTH, subsequent_indent="  "),
    ]
    if outcome.proof.not_made:
        lines.append(f"objects not made: {len(outcome.proof.not_made)} (named above)")
    if outcome.proof.settings:
        lines.append(f"settings taken over: {', '.join(outcome.proof.settings)}")
    if outcome.standstill_seconds:
        lines.append(f"services stood still for {duration_text(round(outcome.standstill_seconds))}")
    return lines


# -- ``owctl upgrade --postgres-major``: the database to another major version, and the ways on and back.


COMMAND = "upgrade --postgres-major"
ACTIONS = ("run", "status", "resume", "undo", "finish")
_UNDO = End(
    action="undo",
    working="Undoing",
    drops="drops the new database",
    would="would be undone",
    done="is undone: the old database is back",
)
_FINISH = End(
    action="finish",
    working="Finishing",
    drops="drops the old database",
    would="would be finished",
    done="is finished: the old database is gone",
)

postgres_major_option = click.option(
    "--postgres-major",
    "postgres_major",
    is_flag=False,
    flag_value="run",
    type=click.Choice(ACTIONS),
    metavar="[ACTION]",
    help="Move the database to the major version of PostgreSQL whose image the compose files name; "
    "ACTION is run (if none is given), status, resume, undo, or finish, which drops the old one.",
)
old_image_option = click.option(
    "--old-image",
    metavar="IMAGE",
    help="With --postgres-major: an image of the old PostgreSQL, where it cannot be found.",
)


@dataclass(frozen=True, slots=True)
class Call:
    """What the command line says beside the action."""

    request: "UpgradeRequest"
    how: Run


def refuse_other_options(
    postgres_major: str | None,
    *,
    services: Sequence[str],
    pull: bool | None,
    build: bool,
    no_backup: bool,
    old_image: str | None,
) -> None:
    """Raise UsageError for options that belong to the other kind of upgrade."""
    if postgres_major is None:
        if old_image is not None:
            raise UsageError(
                "--old-image is of use with --postgres-major only.",
                hint="owctl upgrade --postgres-major --old-image IMAGE",
            )
        return
    if services or pull is not None or not build or no_backup:
        raise UsageError(
            "--postgres-major is about the database alone: it takes no services, --pull, --no-pull, "
            "--no-build or --no-backup.",
            hint="owctl upgrade --postgres-major --dry-run",
        )


def upgrade_postgres(context: Context, action: str, how: Run, *, old_image: str | None) -> None:
    """Do one of ACTIONS; raises OwctlError."""
    from owctl.upgrade.postgres.plan import UpgradeRequest

    request = UpgradeRequest(timeout_seconds=how.timeout_seconds, old_image=old_image)
    call = Call(request, how)
    actions: dict[str, Callable[[Context, Call], None]] = {
        "run": _run,
        "status": _status,
        "resume": _resume,
        "undo": _undo,
        "finish": _finish,
    }
    actions[action](context, call)


def _run(context: Context, call: Call) -> None:
    from owctl.commands.mutation import mutation
    from owctl.commands.options import confirm, require_answerable
    from owctl.commands.progress import Display
    from owctl.upgrade.postgres.run import upgrade_postgres as upgrade

    stack, engine = _stack(context), context.engine
    if call.how.dry_run:
        show_plan(context, _plan(context, call), call.how.output_format)
        return
    what = "stops services for the upgrade"
    require_answerable(call.how.yes, what)
    with mutation(context, COMMAND, call.how.lock_wait_seconds):
        plan = _plan(context, call)
        for line in () if call.how.yes else plan_lines(plan):
            context.console.info(line)
        versions = f"PostgreSQL {plan.place.old_major} to {plan.place.new_major or 'the new one'}"
        confirm(context, call.how.yes, f"Upgrade {stack.project} from {versions}?", what)
        with context.console.progress(f"Upgrading {stack.project} from {versions}") as progress:
            display = Display(context.console, progress)
            outcome = upgrade(engine, stack, plan, call.request, display)
    show_outcome(context, outcome, call.how.output_format)


def _plan(context: Context, call: Call) -> "UpgradePlan":
    from owctl.upgrade.postgres.plan import plan_upgrade

    return plan_upgrade(context.engine, _stack(context), call.request)


def _resume(context: Context, call: Call) -> None:

    from owctl.upgrade.postgres.place import Journal
    from owctl.upgrade.postgres.run import UpgradeOutcome, resume_upgrade

    if call.how.dry_run:
        journal = require_journal(context, Journal)
        show_end(context, journal, "would be resumed", call.how.output_format, dry_run=True)
        return

    def act(journal: Journal, display: "Display") -> UpgradeOutcome | None:
        return resume_upgrade(context.engine, _stack(context), journal, call.request, display)

    journal, outcome = resume_changeover(context, Journal, call.how.lock_wait_seconds, act)
    if outcome is None:
        show_resumed(context, journal, call.how.output_format)
    else:
        show_outcome(context, outcome, call.how.output_format)


def _undo(context: Context, call: Call) -> None:
    from owctl.upgrade.postgres.place import Journal
    from owctl.upgrade.postgres.run import PostgresUpgrade

    def question(journal: Journal) -> str:
        lost = "What was written since is lost. " if journal.phase == "swapped" else ""
        return f"{lost}Put the database of PostgreSQL {journal.old_major} back?"

    def act(journal: Journal, display: "Display") -> None:
        seconds = call.request.timeout_seconds
        PostgresUpgrade(context.engine, _stack(context), journal, display, seconds).undo()

    journal = end_changeover(context, Journal, _UNDO, call.how, question, act)
    if not (call.how.dry_run or call.how.as_json):
        context.console.info(
            f"The compose files still name {journal.new_image}: name {journal.old_image} again "
            "before the next owctl start, which refuses otherwise."
        )


def _finish(context: Context, call: Call) -> None:
    from owctl.upgrade.postgres.place import Journal
    from owctl.upgrade.postgres.run import PostgresUpgrade
    from owctl.upgrade.postgres.swap import files_of

    def question(journal: Journal) -> str | None:
        if journal.phase != "swapped":
            return None
        size = readable(files_of(context.engine, _stack(context), journal).kept_bytes())
        return f"Drop the database of PostgreSQL {journal.old_major}, which frees {size}?"

    def act(journal: Journal, display: "Display") -> None:
        seconds = call.request.timeout_seconds
        PostgresUpgrade(context.engine, _stack(context), journal, display, seconds).finish()

    end_changeover(context, Journal, _FINISH, call.how, question, act)


def _status(context: Context, call: Call) -> None:

    from owctl.upgrade.postgres.place import Journal

    show_status(context, Journal, status_lines, call.how.output_format)


def _stack(context: Context) -> "Stack":
    """Return the stack with the database's image as the files name it, whatever it is held at."""
    from owctl.postgres.place import require_database
    from owctl.project.upgrade_record import release_images

    place = require_database(context.stack, "to upgrade", hint="owctl config")
    return release_images(context.stack, [place.name])
