"""``owctl backup`` and what is done with backups; a bare ``backup`` makes one."""

import click

from owctl.commands.command_group import CommandGroup

TABLE = {
    "create": ("backup_create", "Make a backup; what a bare `owctl backup` does."),
}


@click.command(cls=CommandGroup, table=TABLE, default="create")
def backup() -> None:
    """Back up the database, the files and the configuration."""
