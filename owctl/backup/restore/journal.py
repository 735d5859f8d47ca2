"""The journal of a restore: what is staged and kept where, and how far it is.

It is written before anything is made that it names, and removed after the last of it is gone. So
whoever finds it after a kill knows all that there can be.
"""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from owctl.backup.restore.begun_note import remove_begun_note
from owctl.errors import OwctlError
from owctl.postgres.swap import DatabaseNames
from owctl.project.state import FOLDER

FILE = "restore.json"
SCHEMA = 1
Phase = Literal["staging", "staged", "swapping", "swapped", "undoing", "finishing"]
# Half of the data is swapped, perhaps: nothing may run on it.
HALF_DONE: frozenset[Phase] = frozenset({"swapping", "undoing"})


@dataclass(frozen=True, slots=True)
class VolumeName:
    """A volume: its key in the compose files, its name on the engine."""

    key: str
    name: str


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file of the configuration, by its path in the project; ``existed``: before the restore."""

    path: str
    existed: bool


@dataclass(frozen=True, slots=True)
class Journal:
    """One restore. ``running`` are the services that ran before; times are ISO 8601 in UTC."""

    id: str
    project: str
    engine_id: str
    phase: Phase
    backup_id: str
    backup_path: str
    parts: tuple[str, ...]
    started_at: str
    running: tuple[str, ...] = ()
    database: DatabaseNames | None = None
    volumes: tuple[VolumeName, ...] = ()
    config: tuple[ConfigFile, ...] = ()
    safety_backup: str | None = None
    had_containers: bool = True
    # Where the backup is more than one file or folder.
    other_paths: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the document that the file holds."""
        return {"schema": SCHEMA, **asdict(self)}


def new_id() -> str:
    """Return the name of a new restore: eight hexadecimal digits."""
    return secrets.token_hex(4)


def now() -> str:
    """Return the time as a journal has it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def path_of(working_dir: Path) -> Path:
    """Return where the journal of the project in ``working_dir`` is, if there is one."""
    return working_dir / FOLDER / FILE


def read_journal(working_dir: Path) -> Journal | None:
    """Return the journal of the project, None if no restore is under way; raises OwctlError."""
    path = path_of(working_dir)
    try:
        return _parse(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OwctlError(
            f"The journal of a restore, {path}, cannot be read: {error.strerror or error}.",
            hint="the command as the user who began that restore",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise OwctlError(
            f"The journal of a restore, {path}, is damaged ({type(error).__name__}: {error}).",
            hint="docs/restore.md, which says how to go back by hand",
        ) from error


def write_journal(working_dir: Path, journal: Journal) -> None:
    """Put the journal in place, whole and durable; raises OwctlError."""
    path = path_of(working_dir)
    temporary = path.with_name(f".{FILE}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(journal.to_json(), file, indent=2, ensure_ascii=False)
            file.write("\n")
            file.flush()
            if os.geteuid() == 0:
                # It is about the folder, so it belongs to who owns the folder.
                owner = working_dir.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise _cannot("write", path, error) from error


def advance(working_dir: Path, journal: Journal, phase: Phase, **changes: Any) -> Journal:  # noqa: ANN401
    """Write down that the restore has come to a phase; returns the new journal."""
    found = replace(journal, phase=phase, **changes)
    write_journal(working_dir, found)
    return found


def remove_journal(working_dir: Path) -> None:
    """Remove the journal, durably: the restore is over. Raises OwctlError."""
    path = path_of(working_dir)
    try:
        # One that a kill left beside the journal would say that nothing was restored yet.
        remove_begun_note(working_dir)
        path.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:
        raise _cannot("remove", path, error) from error


def _parse(document: Mapping[str, Any]) -> Journal:
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema {document['schema']}; this owctl knows {SCHEMA}")
    if document["phase"] not in get_args(Phase):
        raise ValueError(f"unknown phase {document['phase']!r}")
    database = document["database"]
    texts = ("id", "project", "engine_id", "backup_id", "backup_path", "started_at")
    return Journal(
        **{name: str(document[name]) for name in texts},
        phase=document["phase"],
        parts=tuple(document["parts"]),
        running=tuple(document["running"]),
        database=None if database is None else DatabaseNames(**database),
        volumes=tuple(VolumeName(**each) for each in document["volumes"]),
        config=tuple(ConfigFile(**each) for each in document["config"]),
        safety_backup=document["safety_backup"],
        had_containers=bool(document["had_containers"]),
        other_paths=tuple(str(path) for path in document.get("other_paths", ())),
    )


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot(action: str, path: Path, error: OSError) -> OwctlError:
    return OwctlError(
        f"Cannot {action} the journal of the restore, {path}: {error.strerror or error}.",
        hint=f"make room there and {path.parent} writable, then the same command again",
    )
