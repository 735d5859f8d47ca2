"""What the journal of a restore holds, and the note that one into an empty folder was begun."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from owctl.changeover.journal import RESTORE, Kind
from owctl.changeover.journal import Journal as AnyJournal
from owctl.postgres.swap import DatabaseNames
from owctl.project.state import StateFile


@dataclass(frozen=True, slots=True)
class VolumeName:
    """A volume: its key in the compose files, its name on the engine."""

    key: str
    name: str


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file of the configuration, by its path in the project; ``existed``: before the restore.

    ``known``: the backup says whose it is and who may read it, and the staged file is so.
    """

    path: str
    existed: bool
    known: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal(AnyJournal):
    """One restore. ``wants_…``, ``timeout_seconds`` are what it was told, for whoever goes on with it.

    ``halted`` are the ids of containers that are stopped for it and of no service.
    ``anew``: into an empty folder; nothing ran before, and ``running`` is what is to run.
    """

    kind: ClassVar[Kind] = RESTORE

    backup_id: str
    backup_path: str
    parts: tuple[str, ...]
    database: DatabaseNames | None = None
    volumes: tuple[VolumeName, ...] = ()
    config: tuple[ConfigFile, ...] = ()
    safety_backup: str | None = None
    # Where the backup is more than one file or folder.
    other_paths: tuple[str, ...] = ()
    wants_safety_backup: bool = True
    wants_start: bool = True
    timeout_seconds: float | None = None
    halted: tuple[str, ...] = ()
    anew: bool = False

    @classmethod
    def typed(cls, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a document with their types."""
        found = AnyJournal.typed(document)
        database = document["database"]
        found["database"] = None if database is None else DatabaseNames(**database)
        found["volumes"] = tuple(VolumeName(**each) for each in document["volumes"])
        found["config"] = tuple(ConfigFile(**each) for each in document["config"])
        found["parts"] = tuple(document["parts"])
        found["halted"] = tuple(document.get("halted", ()))
        found["other_paths"] = tuple(document.get("other_paths", ()))
        # Earlier versions did not write it down, and went by what runs.
        found["started"] = document.get("started", True)
        return found

    @classmethod
    def remove(cls, working_dir: Path, *, begun: bool = False) -> None:
        """Remove the journal, durably: the restore is over, or has only ``begun``. Raises OwctlError."""
        # A note that a kill left beside the journal would say that nothing was restored yet.
        (write_begun_note if begun else remove_begun_note)(working_dir)
        # The slots make another class of this one, which a plain super() does not know.
        super(Journal, cls).remove(working_dir)


# The note that a restore into an empty folder was begun: until there is a journal, which knows more.
_NOTE: StateFile[None] = StateFile("restore-begun", parse=lambda _: None, render=lambda _: {})
has_begun_note, remove_begun_note = _NOTE.exists, _NOTE.remove


def write_begun_note(working_dir: Path) -> None:
    """Put the note in place; raises OwctlError."""
    _NOTE.write(working_dir, None)
