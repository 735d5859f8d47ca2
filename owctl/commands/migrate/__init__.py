"""``owctl migrate`` and the way back."""

import click

from owctl.commands.command_group import CommandGroup

TABLE = {
    "run": (
        "migrate.run",
        "migrate_run",
        "Move the data of the Python backend here; what a bare name does.",
    ),
    "rollback": (
        "migrate.run",
        "migrate_rollback",
        "Stop the new stack, start the old container again.",
    ),
}


@click.command(cls=CommandGroup, table=TABLE, default="run", takes_words=True)
def migrate() -> None:
    """Move accounts, chats and files from the Python backend to this stack."""
