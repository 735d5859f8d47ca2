"""The journal of an upgrade to another PostgreSQL: how far it is, and all that it may have made.

It is written before anything is changed that it names, and removed after the last of it is gone.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from owctl.errors import OwctlError
from owctl.project.private_file import PRIVATE_MODE, create_file
from owctl.project.state import FOLDER

FILE = "postgres-upgrade.json"
SCHEMA = 1
Phase = Literal["preparing", "moving", "swapping", "swapped", "undoing", "finishing"]
# Services stand still for it, or the volume is between two states: nothing else may change.
HALF_DONE: frozenset[Phase] = frozenset({"moving", "swapping", "undoing"})


@dataclass(frozen=True, slots=True)
class Journal:
    """One upgrade. ``running`` are the services that ran before; ``started_at`` is ISO 8601, UTC.

    ``folder`` is where in ``volume`` the data is ("" for its root). ``new_volume`` holds the new
    database until it is in place. ``started`` says that they run again, on the new one: what runs
    from then on is the user's choice.
    """

    id: str
    project: str
    engine_id: str
    phase: Phase
    service: str
    volume: str
    folder: str
    new_volume: str
    old_major: str
    new_major: str
    old_image: str
    new_image: str
    started_at: str
    running: tuple[str, ...] = ()
    had_containers: bool = True
    backup: str | None = None
    started: bool = False

    @property
    def name(self) -> str:
        """The upgrade in words."""
        return f"upgrade from PostgreSQL {self.old_major} to {self.new_major}"

    def to_json(self) -> dict[str, Any]:
        """Return the document that the file holds."""
        return {"schema": SCHEMA, **asdict(self)}


def path_of(working_dir: Path) -> Path:
    """Return where the journal of the project in ``working_dir`` is, if there is one."""
    return working_dir / FOLDER / FILE


def read_journal(working_dir: Path) -> Journal | None:
    """Return the journal of the project, None if no upgrade is under way; raises OwctlError."""
    path = path_of(working_dir)
    try:
        return _parse(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OwctlError(
            f"The journal of an upgrade, {path}, cannot be read: {error.strerror or error}.",
            hint="the command as the user who began that upgrade",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise OwctlError(
            f"The journal of an upgrade, {path}, is damaged ({type(error).__name__}: {error}).",
            hint="docs/upgrade-postgres.md, which says how to go back by hand",
        ) from error


def write_journal(working_dir: Path, journal: Journal) -> None:
    """Put the journal in place, whole and durable; raises OwctlError."""
    path = path_of(working_dir)
    beside = path.with_name(f".{FILE}.{os.getpid()}")
    data = (json.dumps(journal.to_json(), indent=2, ensure_ascii=False) + "\n").encode()
    try:
        beside.unlink(missing_ok=True)
        create_file(beside, data, mode=PRIVATE_MODE)
        beside.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise _cannot("write", path, error) from error


def advance(working_dir: Path, journal: Journal, phase: Phase, **changes: Any) -> Journal:  # noqa: ANN401
    """Write down that the upgrade has come to a phase; returns the new journal."""
    found = replace(journal, phase=phase, **changes)
    write_journal(working_dir, found)
    return found


def remove_journal(working_dir: Path) -> None:
    """Remove the journal, durably: the upgrade is over. Raises OwctlError."""
    path = path_of(working_dir)
    try:
        path.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:
        raise _cannot("remove", path, error) from error


def _parse(document: Mapping[str, Any]) -> Journal:
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema {document['schema']}; this owctl knows {SCHEMA}")
    if document["phase"] not in get_args(Phase):
        raise ValueError(f"unknown phase {document['phase']!r}")
    fields = {name: value for name, value in document.items() if name != "schema"}
    return Journal(**{**fields, "running": tuple(document["running"])})


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot(action: str, path: Path, error: OSError) -> OwctlError:
    return OwctlError(
        f"Cannot {action} the journal of the upgrade, {path}: {error.strerror or error}.",
        hint=f"make room there and {path.parent} writable, then the same command again",
    )
