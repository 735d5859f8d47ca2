"""``owctl restore``: a backup put back, and the ways on and back afterwards."""

import click

from owctl.commands.command_group import CommandGroup

TABLE = {
    "run": ("restore.run", "restore_run", "Put a backup back; what `owctl restore BACKUP` does."),
    "undo": ("restore.after", "restore_undo", "Go back to what was there before the restore."),
    "finish": (
        "restore.after",
        "restore_finish",
        "Keep what was restored; drop what was there before.",
    ),
    "resume": ("restore.after", "restore_resume", "Go on with a restore that was interrupted."),
    "status": (
        "restore.after",
        "restore_status",
        "Show the restore that is under way, and what it keeps.",
    ),
}


@click.command(cls=CommandGroup, table=TABLE, default="run", takes_words=True)
def restore() -> None:
    """Put a backup back, with a way to undo it."""
