"""The note that a restore into an empty folder was begun: until there is a journal, which knows more."""

from pathlib import Path

from owctl.project.ownership import FOLDER
from owctl.project.private_file import PRIVATE_MODE, FileAppeared, create_file

_FILE = "restore-begun"


def write_begun_note(working_dir: Path) -> None:
    """Put the note in place; one that is there stays. Raises OwctlError."""
    try:
        create_file(working_dir / FOLDER / _FILE, b"", mode=PRIVATE_MODE)
    except FileAppeared:
        return


def has_begun_note(working_dir: Path) -> bool:
    """Return whether the note is there."""
    return (working_dir / FOLDER / _FILE).exists()


def remove_begun_note(working_dir: Path) -> None:
    """Remove the note, if there is one. Raises OSError."""
    (working_dir / FOLDER / _FILE).unlink(missing_ok=True)
