"""How old the newest good backup is, and whether that is old enough to worry."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from owctl.backup.catalogue import Backup, list_backups

if TYPE_CHECKING:
    from owctl.engine.connection import Engine

# What a backup must hold for the data to be safe.
DATA_PARTS = frozenset({"db", "files"})
_STARTING = ("start", "restart")


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest verified backup of a project, and when it was begun."""

    backup: Backup
    created_at: datetime

    def age_seconds(self, now: datetime) -> float:
        """Return its age."""
        return (now - self.created_at).total_seconds()


def newest_verified(
    parent: Path, project: str, parts: Collection[str] = DATA_PARTS
) -> Newest | None:
    """Return the newest verified backup of the project that has at least these parts.

    None where there is none. Raises OwctlError where the folder cannot be read.
    """
    found = [
        Newest(backup, created_at)
        for backup in list_backups(parent)
        if backup.is_verified and backup.manifest is not None
        if backup.manifest.project == project
        if set(parts) <= set(backup.manifest.stack.get("parts", ()))
        if (created_at := parse_time(backup.manifest.created_at)) is not None
    ]
    return max(found, key=lambda each: each.created_at, default=None)


def parse_time(text: str) -> datetime | None:
    """Return the time that an ISO 8601 text says, None for another text; without zone it is UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def readable_age(seconds: float) -> str:
    """Return an age for people: ``12 minutes``, ``5 hours``, ``3 days``."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        # From two of a unit on: "26 hours" says more than "1 day".
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}s"
    return "a minute" if seconds >= 60 else f"{max(0, seconds):.0f} seconds"


def last_start(engine: "Engine", project: str, project_dir: Path) -> datetime | None:
    """Return when something of the project was last started; None where nothing tells.

    The containers say it, and for those that are gone the history does. Raises OwctlError.
    """
    from owctl.engine.containers import list_containers
    from owctl.project.history import read

    texts = [container.started_at or "" for container in list_containers(engine, project)]
    texts += [str(e["time"]) for e in read(project_dir) if e.get("command") in _STARTING]
    return max((time for text in texts if (time := parse_time(text)) is not None), default=None)
