"""Whether there is room for what is restored: what was there stays beside it for a while."""

from dataclasses import dataclass

from owctl.backup.inventory import VolumeSource
from owctl.backup.psql import Server
from owctl.backup.restore.source import VolumeContent
from owctl.backup.space import readable
from owctl.engine.connection import Engine
from owctl.engine.containers import Container
from owctl.engine.execution import run
from owctl.errors import OwctlError

_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk as a container sees it; two places on the same one have the same ``identity``."""

    identity: tuple[str, ...]
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Need:
    """What takes how much room, and where."""

    what: str
    needed_bytes: int
    disk: Disk


def database_need(server: Server, content_bytes: int) -> Need | None:
    """Return what a new database needs, None where the server's disk cannot be asked."""
    folder = server.ask("SHOW data_directory;")[0][0]
    disk = disk_of(server.engine, server.container, folder)
    return None if disk is None else Need("the database", content_bytes, disk)


def volume_need(engine: Engine, source: VolumeSource, content: VolumeContent) -> Need | None:
    """Return what a volume's files need, None where no running container can be asked."""
    for point in source.mount_points:
        if point.container.is_running:
            disk = disk_of(engine, point.container, point.destination)
            return None if disk is None else Need(content.key, content.files_bytes, disk)
    return None


def check_room(needs: list[Need]) -> None:
    """Raise OwctlError if what is needed on a disk is more than is free there."""
    disks = {need.disk.identity: need.disk for need in needs}
    for identity, disk in disks.items():
        there = [need for need in needs if need.disk.identity == identity]
        needed = sum(need.needed_bytes for need in there)
        if needed > disk.free_bytes:
            parts = ", ".join(f"{need.what} {readable(need.needed_bytes)}" for need in there)
            raise OwctlError(
                f"There is not enough room to restore: {readable(needed)} are needed beside what "
                f"is there ({parts}), and {readable(disk.free_bytes)} are free.",
                hint="make room on the disk of the engine's volumes, or restore one part at a "
                "time: --only db, owctl restore finish, --only files",
            )


def disk_of(engine: Engine, container: Container, folder: str) -> Disk | None:
    """Return the disk that a folder of a running container is on, None where it cannot be asked."""
    answer = run(engine, container.id, ["df", "-Pk", folder], timeout_seconds=_SECONDS)
    lines = answer.stdout.decode("utf-8", "replace").splitlines()
    words = lines[-1].split() if answer.exit_code == 0 and len(lines) > 1 else []
    # Filesystem, blocks, used, available, capacity, mounted on; the last may have blanks.
    if len(words) < 6 or not words[3].isdigit():
        return None
    return Disk((words[0], words[1], words[2]), int(words[3]) * 1024)
