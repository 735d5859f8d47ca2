"""The record of what was changed for the while of a backup: written before it is changed.

It is what a kill leaves: the next owctl that changes the project reads it and sets things right.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from owctl.errors import OwctlError
from owctl.project.private_file import PRIVATE_MODE, create_file

FOLDER = ".owctl"
FILE = "quiesced.json"
SCHEMA = 1
# The states of a container that may write.
AT_WORK = ("running", "restarting")


@dataclass(frozen=True, slots=True)
class Changed:
    """A container that was stopped or started for the while.

    ``awaited`` says that it is worth waiting for: one that kept restarting by itself is not.
    """

    container_id: str
    name: str
    service: str
    awaited: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """What a backup of a project on an engine changed.

    ``stopped`` are to run again, ``started`` to be stopped again, ``created`` (names of containers)
    and ``networks`` (names) to be removed. ``running`` are the ids of all the project's containers
    that ran before: whatever runs beyond them and the others was started by somebody else.
    """

    project: str
    engine_id: str
    running: tuple[str, ...] = ()
    stopped: tuple[Changed, ...] = ()
    started: tuple[Changed, ...] = ()
    created: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()

    @property
    def stopped_services(self) -> tuple[str, ...]:
        """Return the names of the services that stand still."""
        return tuple(dict.fromkeys(each.service for each in self.stopped))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to be set right."""
        return not (self.stopped or self.started or self.created or self.networks)


def path_of(working_dir: Path) -> Path:
    """Return where the record of a project's folder lies."""
    return working_dir / FOLDER / FILE


def read_record(working_dir: Path) -> Record | None:
    """Return the record, None if there is none. Raises OwctlError where it cannot be read."""
    path = path_of(working_dir)
    try:
        document = json.loads(path.read_bytes())
        return Record(
            project=document["project"],
            engine_id=document["engine_id"],
            running=tuple(document["running"]),
            stopped=tuple(Changed(**each) for each in document["stopped"]),
            started=tuple(Changed(**each) for each in document["started"]),
            created=tuple(document["created"]),
            networks=tuple(document["networks"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OwctlError(
            f"{path}, which tells what an interrupted backup stopped, cannot be read: {error}.",
            hint=f"owctl start, then remove {path}",
        ) from error


def write_record(working_dir: Path, record: Record) -> None:
    """Put a record in place of an earlier one, durably; an empty one is removed.

    Raises OwctlError where the folder cannot be written.
    """
    path = path_of(working_dir)
    document: dict[str, Any] = {"schema": SCHEMA, **asdict(record)}
    data = (json.dumps(document, indent=2) + "\n").encode()
    beside = path.with_suffix(f".{os.getpid()}")
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700)
        if record.is_empty:
            path.unlink(missing_ok=True)
        else:
            beside.unlink(missing_ok=True)
            create_file(beside, data, mode=PRIVATE_MODE)
            beside.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise OwctlError(
            f"Cannot write down in {path} what is stopped for the backup: "
            f"{error.strerror or error}.",
            hint=f"make {path.parent} writable for this user",
        ) from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
