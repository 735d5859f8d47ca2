"""``owctl restore BACKUP``: parse, verify, ask, call the restore room, render."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from owctl.commands.identity_option import given_identities, identity_option
from owctl.commands.options import (
    dry_run_option,
    format_option,
    lock_wait_option,
    pass_context,
    timeout_option,
    yes_option,
)
from owctl.context import Context
from owctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from owctl.backup.encryption import Identity
    from owctl.backup.parts import Part
    from owctl.backup.restore.plan import RestorePlan, RestoreRequest
    from owctl.backup.restore.source import Source

_ASKS = "replaces data"


@click.command("run")
@click.argument("backup")
@click.option(
    "--only",
    metavar="PARTS",
    help="Some of db,files,redis,config.  [default: db,files,redis]",
)
@click.option("--no-safety-backup", is_flag=True, help="Do not back up what is there before.")
@click.option("--no-start", is_flag=True, help="Leave the services stopped afterwards.")
@identity_option
@yes_option
@timeout_option
@dry_run_option
@lock_wait_option
@format_option("table", "json")
@pass_context
def restore_run(
    context: Context,
    backup: str,
    only: str | None,
    no_safety_backup: bool,
    no_start: bool,
    identity_files: tuple[str, ...],
    yes: bool,
    timeout_seconds: float,
    dry_run: bool,
    lock_wait_seconds: float,
    output_format: str,
) -> None:
    """Put a backup back; what `owctl restore BACKUP` does.

    BACKUP is an id, the beginning of one, `latest`, or a path. Everything is verified first and
    staged beside what is there; what is replaced is kept until `owctl restore finish`.
    """
    from owctl.backup.restore.plan import RestoreRequest
    from owctl.commands.confirmation import require_answerable

    request = RestoreRequest(
        parts=_parts(only),
        safety_backup=not no_safety_backup,
        start=not no_start,
        timeout_seconds=timeout_seconds,
    )
    identities = given_identities(context, identity_files)
    if dry_run:
        plan = _plan(context, backup, request, identities, record=False)
        _show_plan(context, plan, output_format)
        return
    require_answerable(yes, _ASKS)
    _restore(context, backup, request, identities, yes, lock_wait_seconds, output_format)


def open_source(
    path: Path, *, record: bool = True, identities: "Sequence[Identity]" = ()
) -> "Source":
    """Return what stands at a path, as a source to restore from; raises BackupInvalid.

    ``record``: whether to write down beside it how verifying it went.
    """
    from owctl.backup.catalogue import look_at
    from owctl.backup.restore.source import BackupSource

    return BackupSource(look_at(path), record=record, identities=identities)


def _plan(
    context: Context,
    backup: str,
    request: "RestoreRequest",
    identities: "Sequence[Identity]",
    *,
    record: bool = True,
) -> "RestorePlan":
    from owctl.backup.catalogue import find_backup
    from owctl.backup.create import FOLDER_NAME
    from owctl.backup.restore.plan import plan_restore
    from owctl.commands.restore_display import RestoreDisplay

    stack = context.stack
    found = find_backup(stack.working_dir / FOLDER_NAME, backup, context.working_dir)
    source = open_source(found.path, record=record, identities=identities)
    with context.console.progress(f"Verifying {found.id}") as progress:
        display = RestoreDisplay(context, progress)
        plan = plan_restore(context.engine, stack, source, request, display)
    for warning in plan.warnings:
        context.console.warn(warning)
    return plan


def _restore(
    context: Context,
    backup: str,
    request: "RestoreRequest",
    identities: "Sequence[Identity]",
    yes: bool,
    lock_wait_seconds: float,
    output_format: str,
) -> None:
    from owctl.backup.restore.run import run_restore
    from owctl.commands.confirmation import confirm
    from owctl.commands.mutation import mutation
    from owctl.commands.restore_display import RestoreDisplay
    from owctl.commands.restore_report import outcome_document, plan_lines, show_outcome

    stack, engine = context.stack, context.engine
    with mutation(context, "restore", lock_wait_seconds):
        plan = _plan(context, backup, request, identities)
        for line in () if yes else plan_lines(plan):
            context.console.info(line)
        what = ", ".join(plan.parts)
        question = f"Replace {what} of {stack.project} by {plan.source.id}?"
        confirm(context, yes, question, _ASKS)
        with context.console.progress(f"Restoring {plan.source.id}") as progress:
            outcome = run_restore(engine, stack, plan, request, RestoreDisplay(context, progress))
    if output_format == "json":
        context.console.json(outcome_document(stack.project, outcome))
    else:
        show_outcome(context, outcome)


def _show_plan(context: Context, plan: "RestorePlan", output_format: str) -> None:
    from owctl.commands.restore_report import plan_document, plan_lines

    if output_format == "json":
        context.console.json(plan_document(context.stack.project, plan))
        return
    for line in plan_lines(plan):
        context.console.result(line)


def _parts(only: str | None) -> "frozenset[Part] | None":
    from owctl.backup.parts import PARTS

    if only is None:
        return None
    names = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in names if name not in PARTS]
    if unknown or not names:
        raise UsageError(
            f"--only knows {', '.join(PARTS)}, and got {', '.join(unknown) or 'nothing'}.",
            hint="owctl restore latest --only db,files",
        )
    return frozenset(part for part in PARTS if part in names)
