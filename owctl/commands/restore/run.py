"""``owctl restore BACKUP``: into a stack, or into an empty folder."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from owctl.commands.backup.create import chosen_parts
from owctl.commands.backup.place import given_identities, identity_option
from owctl.commands.completers import complete_backup, complete_parts
from owctl.commands.options import Run, confirm, examples, mutating, require_answerable
from owctl.commands.progress import Display
from owctl.context import Context
from owctl.errors import ConfigurationError

if TYPE_CHECKING:
    from owctl.backup.restore.legacy import Wanted
    from owctl.backup.restore.plan import RestorePlan, RestoreRequest
    from owctl.backup.restore.source import Source


# -- ``owctl restore BACKUP`` where there is nothing yet: the configuration first, then everything.


def has_no_project(context: Context) -> bool:
    """Return whether no compose file is found from here, or a restore into nothing was begun."""
    from owctl.backup.restore.empty_machine import was_begun

    if was_begun(_folder(context)):
        return True
    try:
        return not context.settings.compose_files
    except ConfigurationError:
        # Those that were named are not there; they may be in the backup.
        return not any(_folder(context).glob("*.y*ml"))


def bring_configuration(context: Context, wanted: "Wanted") -> None:
    """Write the backup's configuration into the folder, and read it from there.

    A source without compose files changes nothing: then whoever reads the stack says what is
    missing. Raises OwctlError and BackupInvalid.
    """
    from owctl.backup.restore.empty_machine import configuration_of, write_configuration

    source = _source(context, wanted)
    if not configuration_of(source).compose_files:
        return
    written = write_configuration(_folder(context), source)
    context.console.info(f"Configuration: {', '.join(written.files)}")
    # What was read before there were any files counts no longer.
    for name in ("settings", "stack"):
        context.__dict__.pop(name, None)


def show_configuration(context: Context, wanted: "Wanted", output_format: str) -> None:
    """Say what would be written and restored, after everything was verified."""
    from owctl.backup.restore.empty_machine import configuration_of

    source = _source(context, wanted, record=False)
    with context.console.progress(f"Verifying {source.id}") as progress:
        source.verify(Display(context.console, progress))
    found = configuration_of(source)
    data = ["database"] if source.database is not None else []
    data += [f"volume {volume.key}" for volume in source.volumes]
    if output_format == "json":
        context.console.document(
            None,
            dry_run=True,
            backup={"id": source.id, "path": str(source.paths[0])},
            writes=list(found.files),
            elsewhere=list(found.elsewhere),
            creates=data,
        )
        return
    for line in (*(f"write    {name}" for name in found.files), *(f"create   {d}" for d in data)):
        context.console.result(line)


def starts_anew(context: Context) -> bool:
    """Return whether the engine has nothing of this project that could be replaced."""
    from owctl.backup.restore.empty_machine import is_new
    from owctl.backup.restore.journal import Journal

    return not Journal.exists(context.stack.working_dir) and is_new(context.engine, context.stack)


def restore_into_nothing(
    context: Context,
    wanted: "Wanted",
    request: "RestoreRequest",
    how: Run,
) -> None:
    """Bring the whole stack up with the backup's data, and say what is there now."""
    from owctl.backup.restore.empty_machine import restore_anew
    from owctl.backup.restore.source import BackupSource
    from owctl.commands.mutation import mutation
    from owctl.commands.restore.report import outcome_document, show_outcome

    stack, engine = context.stack, context.engine
    source = _source(context, wanted, folder=stack.working_dir)
    before = source.manifest.project if isinstance(source, BackupSource) else None
    with (
        mutation(context, "restore", how.lock_wait_seconds),
        context.console.progress(f"Restoring {source.id}") as progress,
    ):
        display = Display(context.console, progress)
        outcome = restore_anew(engine, stack, source, request, display, project_before=before)
    if how.as_json:
        context.console.json(outcome_document(stack.project, outcome, finished=True))
    else:
        show_outcome(context, outcome, finished=True)


def _source(
    context: Context,
    wanted: "Wanted",
    *,
    folder: Path | None = None,
    record: bool = True,
) -> "Source":
    from owctl.backup.catalogue import FOLDER_NAME

    parent = (folder or _folder(context)) / FOLDER_NAME
    # Of any project: on a new machine it may well have another name.
    return wanted.find(parent, None, record=record)


def _folder(context: Context) -> Path:
    named = context.flags.project_dir
    return context.working_dir if named is None else context.working_dir / named


# -- ``owctl restore BACKUP``: parse, verify, ask, call the restore room, render.


_ASKS = "replaces data"

_EXAMPLES = examples(
    "owctl restore latest --dry-run",
    "owctl restore latest",
    "owctl restore 20250131 --only db",
    "owctl restore postgres-backup.sql data-backup.tar.gz",
)


@click.command("run", epilog=_EXAMPLES)
@click.argument("backup", nargs=-1, required=True, shell_complete=complete_backup)
@click.option(
    "--only",
    metavar="PARTS",
    shell_complete=complete_parts,
    help="Some of db,files,redis,config.  [default: db,files,redis]",
)
@click.option("--no-safety-backup", is_flag=True, help="Do not back up what is there before.")
@click.option("--no-start", is_flag=True, help="Leave the services stopped afterwards.")
@identity_option
@mutating("table", "json", yes=True, timeout=True)
def restore_run(
    context: Context,
    backup: tuple[str, ...],
    only: str | None,
    no_safety_backup: bool,
    no_start: bool,
    identity_files: tuple[str, ...],
    how: Run,
) -> None:
    """Put a backup back; what `owctl restore BACKUP` does.

    BACKUP is an id, the beginning of one, `latest`, or a path; or files of docker-manage.sh, a
    .sql and a .tar.gz. Everything is verified first and staged beside what is there; what is
    replaced is kept until `owctl restore finish`. In an empty folder, a backup's path brings the
    whole stack: configuration, images, volumes and data.
    """
    from owctl.backup.restore.plan import RestoreRequest

    request = RestoreRequest(
        parts=None if only is None else chosen_parts(only, "owctl restore latest --only db,files"),
        safety_backup=not no_safety_backup,
        start=not no_start,
        timeout_seconds=how.timeout_seconds,
    )
    from owctl.backup.restore.legacy import Wanted

    wanted = Wanted(backup, context.working_dir, given_identities(context, identity_files))
    if has_no_project(context):
        if how.dry_run:
            show_configuration(context, wanted, how.output_format)
            return
        bring_configuration(context, wanted)
    if how.dry_run:
        plan = _plan(context, wanted, request, record=False)
        _show_plan(context, plan, how.output_format)
        return
    if starts_anew(context):
        restore_into_nothing(context, wanted, request, how)
        return
    require_answerable(how.yes, _ASKS)
    _restore(context, wanted, request, how)


def _plan(
    context: Context, wanted: "Wanted", request: "RestoreRequest", *, record: bool = True
) -> "RestorePlan":
    from owctl.backup.catalogue import FOLDER_NAME
    from owctl.backup.restore.plan import plan_restore

    stack = context.stack
    source = wanted.find(stack.working_dir / FOLDER_NAME, stack.project, record=record)
    with context.console.progress(f"Verifying {source.id}") as progress:
        display = Display(context.console, progress)
        plan = plan_restore(context.engine, stack, source, request, display)
    for warning in plan.warnings:
        context.console.warn(warning)
    return plan


def _restore(
    context: Context,
    wanted: "Wanted",
    request: "RestoreRequest",
    how: Run,
) -> None:
    from owctl.backup.publish import in_use
    from owctl.backup.restore.run import run_restore
    from owctl.commands.mutation import mutation
    from owctl.commands.restore.report import (
        outcome_document,
        plan_lines,
        show_outcome,
    )

    stack, engine = context.stack, context.engine
    with mutation(context, "restore", how.lock_wait_seconds):
        plan = _plan(context, wanted, request)
        for line in () if how.yes else plan_lines(plan):
            context.console.info(line)
        what = ", ".join(plan.parts)
        question = f"Replace {what} of {stack.project} by {plan.source.id}?"
        confirm(context, how.yes, question, _ASKS)
        with ExitStack() as held, context.console.progress(f"Restoring {plan.source.id}") as bar:
            # Another project may prune the folder that both keep their backups in.
            for folder in filter(Path.is_dir, plan.source.paths):
                held.enter_context(in_use(folder))
            outcome = run_restore(engine, stack, plan, request, Display(context.console, bar))
    if how.as_json:
        context.console.json(outcome_document(stack.project, outcome))
    else:
        show_outcome(context, outcome)


def _show_plan(context: Context, plan: "RestorePlan", output_format: str) -> None:
    from owctl.commands.restore.report import plan_document, plan_lines

    if output_format == "json":
        context.console.json(plan_document(context.stack.project, plan))
        return
    for line in plan_lines(plan):
        context.console.result(line)
