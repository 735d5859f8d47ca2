"""The backup that `owctl clean` offers or makes before it removes data."""

from pathlib import Path
from typing import TYPE_CHECKING

from owctl.context import Context
from owctl.errors import OwctlError

if TYPE_CHECKING:
    from owctl.lifecycle.clean import PreparedClean


def why_backup(context: Context, shown: "PreparedClean") -> str | None:
    """Return why a backup is offered; None where no data goes, or a backup has all of it."""
    from datetime import UTC, datetime

    from owctl.backup.catalogue import FOLDER_NAME
    from owctl.backup.freshness import last_start, newest_verified, readable_age

    if not shown.listing.of("volume"):
        return None
    stack = context.stack
    newest = newest_verified(stack.working_dir / FOLDER_NAME, stack.project)
    if newest is None:
        return "There is no verified backup of this data."
    started_at = last_start(context.engine, stack.project, stack.working_dir)
    if started_at is not None and newest.created_at > started_at:
        return None
    age = readable_age(newest.age_seconds(datetime.now(UTC)))
    since = "and the stack was started since" if started_at else "and what ran since is not known"
    return f"The newest verified backup, {newest.backup.id}, is {age} old, {since}."


def make_backup(context: Context) -> Path:
    """Make a backup and return its folder; the caller holds the project's lock.

    Raises OwctlError that says that nothing was removed.
    """
    from owctl.backup.create import BackupRequest, create_backup
    from owctl.commands.backup_display import BackupDisplay

    stack, console, request = context.stack, context.console, BackupRequest()
    try:
        with console.progress(f"Backing up {stack.project}") as progress:
            display = BackupDisplay(console, progress, verify=request.verify)
            created = create_backup(context.engine, stack, request, display)
    except OwctlError as error:
        error.details = (*error.details, "Nothing was removed: there is no backup.")
        raise
    for failure in created.failures:
        console.warn(failure.message)
    console.info(f"Backup created and read back: {created.path}")
    return created.path
