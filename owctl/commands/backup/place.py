"""What the commands around backups share: the folder, and the identity."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from owctl.commands.completers import complete_file, complete_folder
from owctl.context import Context
from owctl.errors import ConfigurationError

if TYPE_CHECKING:
    from owctl.backup.encryption import Identity


# -- ``--identity``: the private keys with which an encrypted backup is read.


identity_option = click.option(
    "--identity",
    "identity_files",
    multiple=True,
    metavar="FILE",
    shell_complete=complete_file,
    help="A private key of age or SSH that decrypts the backup (repeatable).",
)


def given_identities(context: Context, files: tuple[str, ...]) -> "tuple[Identity, ...]":
    """Return the keys in the files that ``--identity`` names; raises ConfigurationError."""
    if not files:
        return ()
    from pathlib import Path

    from owctl.backup.encryption import load_identities

    paths = [context.working_dir / Path(name).expanduser() for name in files]
    return tuple(identity for path in paths for identity in load_identities(path))


# -- Where the backups are that a command means, also for a project whose files are broken.


output_option = click.option(
    "--output",
    metavar="DIR",
    shell_complete=complete_folder,
    help="The folder of the backups.  [default: backups/]",
)


@dataclass(frozen=True, slots=True)
class BackupPlace:
    """A folder of backups. ``project`` is None where no file says what it is called."""

    parent: Path
    project: str | None


def find_place(context: Context, output: str | None) -> BackupPlace:
    """Return where the backups are; a broken compose file is a warning only, as far as it can be.

    Raises ConfigurationError where not even the project's folder can be found.
    """
    from owctl.backup.catalogue import FOLDER_NAME

    named = (context.working_dir / output).resolve() if output else None
    try:
        settings = context.settings
    except ConfigurationError as error:
        if named is None:
            raise
        _warn(context, error)
        return BackupPlace(named, None)
    parent = named or settings.project_dir / FOLDER_NAME
    try:
        return BackupPlace(parent, context.stack.project)
    except ConfigurationError as error:
        _warn(context, error)
        return BackupPlace(parent, settings.project_name)


def _warn(context: Context, error: ConfigurationError) -> None:
    first = f" {error.details[0]}" if error.details else ""
    context.console.warn(f"{error.message}{first}")
