"""A volume: the engine's archive stream of its files, followed while it is stored."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from owctl.backup.encryption import Encryption, stored_name
from owctl.backup.folder_archive import read_folder
from owctl.backup.inventory import Inventory, VolumeSource
from owctl.backup.manifest import Member
from owctl.backup.member_file import MemberFile, Stored
from owctl.backup.named_files import NamedFiles
from owctl.backup.tar_scan import TarEntry, TarScanner
from owctl.engine import one_off
from owctl.engine.connection import Engine
from owctl.errors import BackupInvalid, OwctlError

SQLITE_MAGIC = b"SQLite format 3\0"
# A file that shrinks while it is read spoils the whole archive; the next try mostly succeeds.
_ATTEMPTS = 3


@dataclass(slots=True)
class ArchivedVolume:
    """What a volume's archive holds beyond its bytes."""

    member: Member
    sqlite_files: list[str] = field(default_factory=list)


@contextmanager
def reachable(
    engine: Engine, inventory: Inventory, source: VolumeSource, project: str
) -> Iterator[tuple[str, str]]:
    """Yield a container's id and the path at which it has the volume.

    For a volume that no container mounts, a container that is never started is made for the while
    from an image that is there; on Podman for each, and started, because tar has to run in it.
    """
    if source.mount_points and not engine.is_podman:
        point = source.mount_points[0]
        yield point.container.id, point.destination
        return
    if inventory.helper_image_id is None:
        raise OwctlError(
            f"Cannot read the volume {source.name}: the stack has neither a container nor an image "
            "on this machine to read it through.",
            hint="owctl start",
        )
    image_id = inventory.helper_image_id
    with one_off.volume_helper(
        engine, project, image_id, source.name, "backup", running=engine.is_podman
    ) as helper:
        yield helper.id, helper.path


def remove_helpers(engine: Engine, project: str) -> None:
    """Remove the containers that a killed backup left; the caller holds the project's lock."""
    one_off.remove_helpers(engine, project, "backup")


def archive_volume(
    engine: Engine,
    source: VolumeSource,
    place: tuple[str, str],
    folder: Path,
    named_files: NamedFiles,
    on_bytes: Callable[[int], None],
    encryption: Encryption | None = None,
) -> ArchivedVolume:
    """Store the volume that ``place`` (container's id, path) shows; raises OwctlError."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _archive(engine, source, place, folder, named_files, on_bytes, encryption)
        except BackupInvalid as error:
            (folder / stored_name(_member_name(source), encryption)).unlink()
            if attempt == _ATTEMPTS:
                raise OwctlError(
                    f"Cannot archive the volume {source.name}: {error.message}",
                    hint="stop the services that write to it, and try again",
                ) from error
    raise AssertionError("unreachable")


def _archive(
    engine: Engine,
    source: VolumeSource,
    place: tuple[str, str],
    folder: Path,
    named_files: NamedFiles,
    on_bytes: Callable[[int], None],
    encryption: Encryption | None,
) -> ArchivedVolume:
    container_id, path = place
    sqlite_files: list[str] = []
    found = named_files.in_volume(source.name)

    def look(entry: TarEntry) -> None:
        name = entry.name.removeprefix("./").rstrip("/")
        found(name)
        if entry.head == SQLITE_MAGIC:
            sqlite_files.append(name)

    scanner = TarScanner(look)
    with (
        MemberFile(folder, _member_name(source), on_bytes=on_bytes, encryption=encryption) as file,
        read_folder(engine, container_id, path) as stream,
    ):
        for data in stream:
            file.write(data)
            scanner.feed(data)
        scanner.finish()
        stored = file.finish()
    return ArchivedVolume(_member(source, stored, scanner), sqlite_files)


def _member(source: VolumeSource, stored: Stored, scanner: TarScanner) -> Member:
    return Member(
        name=stored.name,
        kind="volume",
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        content_size_bytes=stored.content_size_bytes,
        detail={
            "volume": source.key,
            "part": source.part,
            "volume_name": source.name,
            "mounted_at": [
                {"service": point.container.service, "path": point.destination}
                for point in source.mount_points
            ],
            "entries": scanner.entries,
            "files_bytes": scanner.content_bytes,
        },
    )


def _member_name(source: VolumeSource) -> str:
    return str(PurePosixPath("volumes") / f"{source.key}.tar.zst")
