"""``owctl restore BACKUP`` where there is nothing yet: the configuration first, then everything."""

from pathlib import Path
from typing import TYPE_CHECKING

from owctl.context import Context
from owctl.errors import ConfigurationError

if TYPE_CHECKING:
    from owctl.backup.restore.plan import RestoreRequest
    from owctl.backup.restore.source import Source
    from owctl.backup.restore.sources import Wanted


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
    from owctl.commands.restore_display import RestoreDisplay

    source = _source(context, wanted, record=False)
    with context.console.progress(f"Verifying {source.id}") as progress:
        source.verify(RestoreDisplay(context, progress))
    found = configuration_of(source)
    data = ["database"] if source.database is not None else []
    data += [f"volume {volume.key}" for volume in source.volumes]
    if output_format == "json":
        context.console.json(
            {
                "schema": 1,
                "project": None,
                "dry_run": True,
                "backup": {"id": source.id, "path": str(source.paths[0])},
                "writes": list(found.files),
                "elsewhere": list(found.elsewhere),
                "creates": data,
            }
        )
        return
    for line in (*(f"write    {name}" for name in found.files), *(f"create   {d}" for d in data)):
        context.console.result(line)


def starts_anew(context: Context) -> bool:
    """Return whether the engine has nothing of this project that could be replaced."""
    from owctl.backup.restore.empty_machine import is_new
    from owctl.backup.restore.journal import path_of

    begun = path_of(context.stack.working_dir).exists()
    return not begun and is_new(context.engine, context.stack)


def restore_into_nothing(
    context: Context,
    wanted: "Wanted",
    request: "RestoreRequest",
    lock_wait_seconds: float,
    output_format: str,
) -> None:
    """Bring the whole stack up with the backup's data, and say what is there now."""
    from owctl.backup.restore.empty_machine import restore_anew
    from owctl.backup.restore.source import BackupSource
    from owctl.commands.mutation import mutation
    from owctl.commands.restore_display import RestoreDisplay
    from owctl.commands.restore_report import outcome_document, show_outcome

    stack, engine = context.stack, context.engine
    source = _source(context, wanted, folder=stack.working_dir)
    before = source.manifest.project if isinstance(source, BackupSource) else None
    with (
        mutation(context, "restore", lock_wait_seconds),
        context.console.progress(f"Restoring {source.id}") as progress,
    ):
        display = RestoreDisplay(context, progress)
        outcome = restore_anew(engine, stack, source, request, display, project_before=before)
    if output_format == "json":
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
    from owctl.backup.create import FOLDER_NAME

    parent = (folder or _folder(context)) / FOLDER_NAME
    # Of any project: on a new machine it may well have another name.
    return wanted.find(parent, None, record=record)


def _folder(context: Context) -> Path:
    named = context.flags.project_dir
    return context.working_dir if named is None else context.working_dir / named
