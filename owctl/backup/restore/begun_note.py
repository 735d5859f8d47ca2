"""The note that a restore into an empty folder was begun: until there is a journal, which knows more."""

from pathlib import Path

from owctl.project.state import StateFile

_NOTE: StateFile[None] = StateFile("restore-begun", parse=lambda _: None, render=lambda _: {})
has_begun_note, remove_begun_note = _NOTE.exists, _NOTE.remove


def write_begun_note(working_dir: Path) -> None:
    """Put the note in place; raises OwctlError."""
    _NOTE.write(working_dir, None)
