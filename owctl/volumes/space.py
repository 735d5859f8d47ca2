"""Room on the disk: refusing early what cannot fit, and never filling it up."""

import os
from dataclasses import dataclass
from pathlib import Path

from owctl.engine.connection import Engine
from owctl.engine.containers import Container
from owctl.engine.execution import run
from owctl.errors import OwctlError
from owctl.figures import readable

# A database that is dumped and compressed shrinks to less than half of its size on disk; files may
# not shrink at all, but often do. A refusal must be certain, so these are the hopeful figures.
DATABASE_SHARE = 0.2
FILES_SHARE = 0.3
# The disk is often the engine's, too: a full one stops PostgreSQL.
_RESERVE_BYTES = 64 * 1024 * 1024
_RESERVE_SHARE = 0.05
_DF_SECONDS = 60


def free_bytes(folder: Path) -> int:
    """Return how much this user may still write on the folder's disk."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def check_reserve(folder: Path) -> None:
    """Raise OwctlError when so little is left that writing on would fill the disk up."""
    status = os.statvfs(folder)
    size = status.f_blocks * status.f_frsize
    free = status.f_bavail * status.f_frsize
    if free < min(_RESERVE_BYTES, int(size * _RESERVE_SHARE)):
        raise OwctlError(
            f"The backup was given up: only {readable(free)} of space is left in {folder}.",
            hint="make room there, or name a folder on another disk with --output",
        )


def check_estimate(folder: Path, *, database_bytes: int, files_bytes: int) -> None:
    """Raise OwctlError if a backup of so much data cannot fit into the folder's disk."""
    least = int(database_bytes * DATABASE_SHARE + files_bytes * FILES_SHARE)
    free = free_bytes(folder)
    if free < least:
        raise OwctlError(
            f"There is not enough space for a backup in {folder}: {readable(free)} are free, and "
            f"{readable(database_bytes)} of database and {readable(files_bytes)} of files take "
            f"at least {readable(least)}.",
            hint="make room there, or name a folder on another disk with --output",
        )


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk as a container sees it; two places on the same one have the same ``identity``."""

    identity: tuple[str, ...]
    free_bytes: int


def disk_of(engine: Engine, container: Container, folder: str) -> Disk | None:
    """Return the disk that a folder of a running container is on, None where it cannot be asked."""
    answer = run(engine, container.id, ["df", "-Pk", folder], timeout_seconds=_DF_SECONDS)
    lines = answer.stdout.decode("utf-8", "replace").splitlines()
    words = lines[-1].split() if answer.exit_code == 0 and len(lines) > 1 else []
    # Filesystem, blocks, used, available, capacity, mounted on; the last may have blanks.
    if len(words) < 6 or not words[3].isdigit():
        return None
    return Disk((words[0], words[1], words[2]), int(words[3]) * 1024)
