"""What is asked of `owctl backup`, and what comes of it."""

from dataclasses import dataclass
from pathlib import Path

from owctl.backup.encryption import Encryption
from owctl.backup.manifest import Manifest
from owctl.backup.parts import PARTS, Part
from owctl.errors import OwctlError


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What to back up, and how.

    ``parent`` is the folder of the backups, None for the project's own. ``quiesce`` stops what
    writes for the while; without ``verify`` nothing is read back.
    """

    parent: Path | None = None
    label: str | None = None
    parts: frozenset[Part] = frozenset(PARTS)
    quiesce: bool = False
    verify: bool = True
    encryption: Encryption | None = None


@dataclass(frozen=True, slots=True)
class CreatedBackup:
    """A backup that exists.

    ``downtime_seconds`` is how long services stood still for it, None if none did. ``failures``
    say what could not be started or stopped again afterwards; the backup itself is whole.
    """

    path: Path
    manifest: Manifest
    verified: bool = True
    downtime_seconds: float | None = None
    failures: tuple[OwctlError, ...] = ()
