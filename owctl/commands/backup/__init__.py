"""``owctl backup`` and what is done with backups; a bare ``backup`` makes one."""

import click

from owctl.commands.command_group import CommandGroup

TABLE = {
    "create": ("backup.create", "backup_create", "Make a backup; what a bare `owctl backup` does."),
    "list": (
        "backup.list",
        "backup_list",
        "Show the backups: age, size, contents, verified or broken.",
    ),
    "verify": (
        "backup.verify",
        "backup_verify",
        "Read a backup back; with --drill, restore it beside the stack.",
    ),
    "schedule": ("backup.schedule", "backup_schedule", "Make backups by themselves, at set times."),
    "push": (
        "backup.remote",
        "backup_push",
        "Copy a backup to another machine, in parts that resume.",
    ),
    "pull": (
        "backup.remote",
        "backup_pull",
        "Fetch a backup from another machine, or list what is there.",
    ),
    "prune": (
        "backup.prune",
        "backup_prune",
        "Remove old backups by rules; sound ones are kept for each period.",
    ),
}


@click.command(cls=CommandGroup, table=TABLE, default="create")
def backup() -> None:
    """Back up the database, the files and the configuration."""
