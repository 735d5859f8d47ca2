"""``--identity``: the private keys with which an encrypted backup is read."""

from typing import TYPE_CHECKING

import click

from owctl.commands.completers import complete_file
from owctl.context import Context

if TYPE_CHECKING:
    from owctl.backup.encryption import Identity

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
