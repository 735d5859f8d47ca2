"""``owctl backup prune``, and the options that say what is kept."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from owctl.backup.retention import Rules
from owctl.commands.backup.place import output_option
from owctl.commands.options import Run, confirm, examples, mutating
from owctl.commands.progress import Display
from owctl.context import Context
from owctl.errors import ConfirmationRequired, OwctlError, UsageError
from owctl.figures import age, readable
from owctl.ui.console import json_document

if TYPE_CHECKING:
    from owctl.backup.retention import Pruned, PrunePlan


# -- --keep-last and its kin, after a new backup, too


_LOCK_WAIT_SECONDS = 60.0
_RULES = (
    ("last", "Keep the newest N backups."),
    ("daily", "Keep the newest of each of the last N days that have one (UTC)."),
    ("weekly", "The same for weeks, from Monday to Sunday."),
    ("monthly", "The same for months."),
)


def retention_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--keep-*``; the command gets ``rules``."""

    @functools.wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401  # whatever the command takes
        counts = {name: options.pop(f"keep_{name}") or 0 for name, _ in _RULES}
        return function(*arguments, rules=Rules(**counts), **options)

    decorated: Callable[..., Any] = wrapped
    for name, text in reversed(_RULES):
        decorated = click.option(
            f"--keep-{name}", type=click.IntRange(min=1), metavar="N", help=text
        )(decorated)
    return decorated


def prune_after_backup(
    context: Context, created: Path, project: str, rules: Rules
) -> Sequence[str]:
    """Remove what the rules let go, now that ``created`` was verified; return the removed ids.

    No rules remove nothing. Raises OwctlError; the new backup stays whatever happens.
    """
    if not rules:
        return ()
    from owctl.backup.retention import plan_prune, prune
    from owctl.project.lock import folder_lock

    try:
        with folder_lock(created.parent, "backup", wait_seconds=_LOCK_WAIT_SECONDS):
            plan = plan_prune(created.parent, project, rules, made=created.name)
            pruned = prune(plan, trusted={created.name})
    except OwctlError as error:
        error.message = (
            f"The backup {created} was made, older ones were not removed. {error.message}"
        )
        raise
    warn_of_busy(context, pruned.busy)
    _tell_kept(context, plan)
    if pruned.removed:
        context.console.info(f"Removed by the rules: {', '.join(pruned.removed)}.")
    return pruned.removed


def _tell_kept(context: Context, plan: "PrunePlan") -> None:
    """Say what the rules do not count, and keep for that."""
    if plan.future:
        names = ", ".join(each.id for each in plan.future)
        context.console.warn(
            f"Dated in the future, so not counted, and not removed: {names}. A clock was wrong when "
            "that was made, or is now."
        )
    if plan.emptied is not None:
        context.console.warn(
            f"{plan.emptied.id} has no accounts and no chats, and earlier backups have: it takes no "
            "place of theirs, and they stay by the rules as if it were not there."
        )


def warn_of_busy(context: Context, busy: Sequence[str]) -> None:
    """Say what was not removed because another owctl reads it."""
    if busy:
        context.console.warn(f"Not removed, because another owctl reads it: {', '.join(busy)}.")


# -- owctl backup prune


_EXAMPLES = examples(
    "owctl backup prune --keep-daily 7 --keep-weekly 4 --keep-monthly 6 --dry-run",
    "owctl backup prune --keep-last 10 --yes",
    "owctl backup prune --keep-last 3 --remove-broken --output /mnt/nas/backups",
)


@click.command("prune", epilog=_EXAMPLES)
@retention_options
@click.option("--remove-broken", is_flag=True, help="Also backups that are known to be damaged.")
@output_option
@mutating("table", "json", yes=True)
def backup_prune(
    context: Context,
    rules: Rules,
    remove_broken: bool,
    output: str | None,
    how: Run,
) -> None:
    """Remove old backups by rules; sound ones are kept for each period.

    A backup stays if one of the rules keeps it. Only backups that were found sound count, and one that
    holds less than another (no accounts, too) never replaces it. Those that nobody has verified, or that
    are dated in the future, stay; damaged ones go only with --remove-broken. Before anything is removed, the newest backup that stays is read back. Backups of
    other projects, and folders that you renamed, are left alone.
    """
    from owctl.backup.publish import find_leftovers
    from owctl.backup.retention import plan_prune, prune
    from owctl.commands.backup.place import find_place
    from owctl.commands.mutation import folder_mutation

    if not rules and not remove_broken:
        raise UsageError(
            "Which backups are to be kept? No rule was given.",
            hint="owctl backup prune --keep-daily 7 --keep-weekly 4 --dry-run",
        )
    # Whose backups these are must be certain: a broken compose file is an error here.
    project = context.stack.project
    parent = find_place(context, output).parent
    plan = plan_prune(parent, project, rules, remove_broken=remove_broken)
    going = {each.id for each in plan.removals}
    if how.dry_run or not going:
        _show(context, plan, how.output_format, dry_run=how.dry_run)
        if how.dry_run or not find_leftovers(parent):
            return
    else:
        _ask(context, plan, how)
    with folder_mutation(context, "backup prune", parent, how.lock_wait_seconds):
        # What came or went meanwhile counts; what the user has not seen stays.
        plan = plan_prune(parent, project, rules, remove_broken=remove_broken)
        with context.console.progress("Reading back what stays") as progress:
            pruned = prune(plan, Display(context.console, progress), only=going)
    if going:
        _report(context, plan, pruned, how.output_format)


def _ask(context: Context, plan: "PrunePlan", how: Run) -> None:
    if not how.yes and not how.as_json:
        _table(context, plan)
    count, size = len(plan.removals), _freed(plan)
    unanswered = ConfirmationRequired(
        f"{_backups(count)} would be removed, and nobody is there to ask.",
        hint="the same command with --yes, or with --dry-run",
    )
    question = f"Remove {_backups(count)} ({size})?"
    confirm(context, how.yes, question, unanswered, declined="Nothing was removed.")


def _show(context: Context, plan: "PrunePlan", output_format: str, *, dry_run: bool) -> None:
    if output_format == "json":
        context.console.json(_document(context, plan, [], dry_run=dry_run))
        return
    if plan.verdicts:
        _table(context, plan)
    count = len(plan.removals)
    if count:
        context.console.result(f"{_backups(count)} would be removed, {_freed(plan)} freed.")
    else:
        context.console.result(f"Nothing to remove in {plan.parent}.")
    _notes(context, plan)


def _notes(context: Context, plan: "PrunePlan") -> None:
    conditions = [each.candidate.condition for each in plan.verdicts]
    if "unverified" in conditions:
        context.console.info(
            "What is not verified does not count and stays; `owctl backup verify --all` looks at it."
        )
    if any(each.keep and each.candidate.condition == "broken" for each in plan.verdicts):
        context.console.info("Damaged ones do not count and stay; --remove-broken removes them.")
    _tell_kept(context, plan)
    if plan.others:
        context.console.info(f"{_backups(plan.others)} of other projects left alone.")


def _table(context: Context, plan: "PrunePlan") -> None:
    from owctl.ui.table import Cell, Column

    rows: list[list[str | Cell]] = []
    for verdict in plan.verdicts:
        manifest = plan.backups[verdict.candidate.id].manifest
        rows.append(
            [
                verdict.candidate.id,
                age(manifest.created_at) if manifest else "?",
                readable(manifest.size_bytes) if manifest else "?",
                Cell("keep", "green") if verdict.keep else Cell("remove", "red"),
                # What is wrong with it, `backup list` says.
                "damaged" if verdict.candidate.condition == "broken" else verdict.reason,
            ]
        )
    columns = [
        Column("ID"),
        Column("AGE", right=True),
        Column("SIZE", right=True),
        Column("WHAT"),
        Column("WHY", narrow="fold"),
    ]
    context.console.table(columns, rows)


def _report(context: Context, plan: "PrunePlan", pruned: "Pruned", output_format: str) -> None:

    warn_of_busy(context, pruned.busy)
    _tell_kept(context, plan)
    if output_format == "json":
        context.console.json(_document(context, plan, pruned.removed, dry_run=False))
        return
    for backup_id in pruned.removed:
        context.console.result(f"Removed {backup_id}.")
    freed = readable(plan.size_bytes(pruned.removed))
    kept = len(plan.verdicts) - len(pruned.removed)
    context.console.result(
        f"{_backups(len(pruned.removed))} removed, {freed} freed; {_backups(kept)} left."
    )


def _document(
    context: Context, plan: "PrunePlan", removed: list[str], *, dry_run: bool
) -> dict[str, Any]:
    return json_document(
        context.stack.project,
        folder=str(plan.parent),
        dry_run=dry_run,
        backups=[
            {
                "id": each.candidate.id,
                "keep": each.keep,
                "reason": each.reason,
                "condition": each.candidate.condition,
                "size_bytes": plan.size_bytes([each.candidate.id]),
            }
            for each in plan.verdicts
        ],
        removed=removed,
        freed_bytes=plan.size_bytes(removed),
    )


def _freed(plan: "PrunePlan") -> str:

    return readable(plan.size_bytes([each.id for each in plan.removals]))


def _backups(count: int) -> str:
    return "1 backup" if count == 1 else f"{count} backups"
