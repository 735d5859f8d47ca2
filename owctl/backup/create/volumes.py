"""Volumes as members: the archive of each, followed while it is stored, and copies of its SQLite files."""

import posixpath
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from owctl.backup.encryption import Encryption, stored_name
from owctl.backup.inventory import Inventory, VolumeSource
from owctl.backup.manifest import Member
from owctl.backup.member_file import MemberFile, cannot_write
from owctl.engine.connection import Engine
from owctl.errors import BackupInvalid, OwctlError
from owctl.volumes import one_off, sqlite
from owctl.volumes.archive_check import EntryCheck
from owctl.volumes.archive_edit import STAGING_PREFIX
from owctl.volumes.losses import Loss, looking, printable
from owctl.volumes.one_off import read_folder
from owctl.volumes.sparse import BLOCK_BYTES, LEAST_BYTES, zero_bytes
from owctl.volumes.tar import TarStream

# -- The files that the database names: each should turn up in an archive.

_SHOWN = 3


class NamedFiles:
    """Uploaded files by volume, crossed off as the archives show them.

    A path is one of a container's; which volume it lies in, the mounts tell. A relative one counts
    from the container's working directory.
    """

    def __init__(self, inventory: Inventory, paths: Iterable[str] = ()) -> None:
        self.total = 0
        self._missing: dict[str, set[str]] = {}
        self._elsewhere: list[str] = []
        roots = _roots(inventory)
        for path in paths:
            self.total += 1
            place = _place(path, roots)
            if place is None:
                self._elsewhere.append(path)
            else:
                self._missing.setdefault(place[0], set()).add(place[1])

    def in_volume(self, volume_name: str) -> Callable[[str], None]:
        """Return what is to be called with the name of each entry of that volume's archive."""
        return self._missing.get(volume_name, set()).discard

    def warning(self) -> str | None:
        """Return what to tell the user when files are missing, None when all were there."""
        missing = sorted(
            [name for names in self._missing.values() for name in names] + self._elsewhere
        )
        if not missing:
            return None
        shown = ", ".join(printable(name) for name in missing[:_SHOWN]) + (
            ", …" if len(missing) > _SHOWN else ""
        )
        return (
            f"{len(missing)} of {self.total} files that the database names are not in the backup: "
            f"{shown}"
        )


def _roots(inventory: Inventory) -> list[tuple[str, str, str]]:
    """Return (mount point, volume's name, working directory), the deepest mount point first."""
    found = {
        (
            posixpath.normpath(point.destination),
            source.name,
            str((point.container.raw.get("Config") or {}).get("WorkingDir") or "/"),
        )
        for source in inventory.volumes
        for point in source.mount_points
    }
    return sorted(found, key=lambda root: -len(root[0]))


def _place(path: str, roots: list[tuple[str, str, str]]) -> tuple[str, str] | None:
    for destination, volume, working_dir in roots:
        whole = posixpath.normpath(posixpath.join(working_dir, path))
        if whole.startswith(destination + "/"):
            return volume, whole[len(destination) + 1 :]
    return None


# -- The archive of a volume.

# A file that shrinks while it is read spoils the whole archive; the next try mostly succeeds.
_ATTEMPTS = 3
# What a PostgreSQL has in its data folder while it runs; a cluster that was shut down has the first.
_CLUSTER_FILES = ("global/pg_control", "postmaster.pid")
# That are written down.
_MOST_LOSSES = 1000


@dataclass(slots=True)
class ArchivedVolume:
    """What a volume's archive holds beyond its bytes, and what it does not."""

    member: Member
    sqlite_files: list[str] = field(default_factory=list)
    # Folders of a PostgreSQL that runs, or did not end in order.
    servers: list[str] = field(default_factory=list)
    losses: tuple[Loss, ...] = ()


class Place(NamedTuple):
    """A container, and the path at which it has a volume, with nothing mounted below."""

    container_id: str
    path: str
    is_running: bool


@contextmanager
def reachable(
    engine: Engine, inventory: Inventory, source: VolumeSource, project: str
) -> Iterator[Place]:
    """Yield a place where a volume can be read alone.

    Where no running container has it without something else mounted below, which the engine would
    archive, too, a container is made for the while from an image that is there; on Podman for each.
    """
    for point in source.mount_points:
        if point.container.is_running and not point.below and not engine.is_podman:
            yield Place(point.container.id, point.destination, is_running=True)
            return
    if inventory.helper_image_id is None:
        raise OwctlError(
            f"Cannot read the volume {source.name}: the stack has neither a container nor an image "
            "on this machine to read it through.",
            hint="owctl start",
        )
    image_id = inventory.helper_image_id
    with one_off.volume_helper(
        engine, project, image_id, source.name, "backup",
        running=True if engine.is_podman else "if possible",
    ) as helper:  # fmt: skip
        yield Place(helper.id, helper.path, helper.is_running)


def remove_helpers(engine: Engine, project: str) -> None:
    """Remove the containers that a killed backup left; the caller holds the project's lock."""
    one_off.remove_helpers(engine, project, "backup")


def archive_volume(
    engine: Engine,
    source: VolumeSource,
    place: Place,
    folder: Path,
    named_files: NamedFiles,
    on_bytes: Callable[[int], None],
    encryption: Encryption | None = None,
) -> ArchivedVolume:
    """Store the volume that ``place`` shows; raises OwctlError."""
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
    place: Place,
    folder: Path,
    named_files: NamedFiles,
    on_bytes: Callable[[int], None],
    encryption: Encryption | None,
) -> ArchivedVolume:
    contents = _Contents()
    with (
        MemberFile(folder, _member_name(source), on_bytes=on_bytes, encryption=encryption) as file,
        looking(engine, place.container_id, place.path, can_run=place.is_running) as look,
        read_folder(engine, place.container_id, place.path) as pieces,
    ):
        contents.read(TarStream(_stored(pieces, file)), named_files.in_volume(source.name))
        stored = file.finish()
        beyond = look.finish()
    check = contents.check
    losses = [
        each for each in (*check.losses, *beyond.losses) if not each.path.startswith(STAGING_PREFIX)
    ]
    detail = {
        "volume": source.key,
        "part": source.part,
        "volume_name": source.name,
        "mounted_at": [
            {"service": point.container.service, "path": point.destination}
            for point in source.mount_points
        ],
        "entries": check.entries,
        "files_bytes": check.files_bytes,
        "alone": True,
        "attributes_looked_for": beyond.complete,
        "sparse": contents.sparse,
        "not_kept": [asdict(each) for each in losses[:_MOST_LOSSES]],
    }
    return ArchivedVolume(
        stored.member("volume", **detail), contents.sqlite_files, contents.servers(), tuple(losses)
    )


@dataclass(slots=True)
class _Contents:
    """What an archive has, seen while it passes."""

    check: EntryCheck = field(default_factory=EntryCheck)
    sqlite_files: list[str] = field(default_factory=list)
    sparse: list[dict[str, str | int]] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)

    def read(self, stream: TarStream, found: Callable[[str], None]) -> None:
        """Read to the end; ``found`` gets each name. Raises BackupInvalid."""
        for header in stream:
            name = self.check.look(header)
            found(name)
            if name.endswith(_CLUSTER_FILES):
                self.marks.append(name)
            if not header.regular:
                continue
            size = header.size_bytes
            first = stream.read(BLOCK_BYTES if size >= LEAST_BYTES else len(sqlite.MAGIC))
            if first.startswith(sqlite.MAGIC):
                self.sqlite_files.append(name)
            elif size >= LEAST_BYTES and _is_text(name):
                zeros = zero_bytes(stream, first)
                if zeros >= LEAST_BYTES:
                    self.sparse.append({"path": name, "size_bytes": size, "zero_bytes": zeros})

    def servers(self) -> list[str]:
        """Return the folders, each with a slash at its end, that have all of what marks a server."""
        control, lock = _CLUSTER_FILES
        folders = (name.removesuffix(control) for name in self.marks if name.endswith(control))
        return [folder for folder in folders if folder + lock in self.marks]


def _stored(pieces: Iterable[bytes], file: MemberFile) -> Iterator[bytes]:
    for data in pieces:
        file.write(data)
        yield data


def _member_name(source: VolumeSource) -> str:
    return str(PurePosixPath("volumes") / f"{source.key}.tar.zst")


# -- SQLite databases in a volume.

_COPY_BYTES = 1024 * 1024
_MOST_PART_BYTES = 255
# Before it comes the path of the backup's folder.
_MOST_NAME_BYTES = 3000


@dataclass(frozen=True, slots=True)
class SqliteCopy:
    """A member with a database that was copied; ``problems`` are SQLite's own words."""

    member: Member
    problems: tuple[str, ...]


def _is_text(name: str) -> bool:
    """Whether a file's name is UTF-8, as everything in a manifest is."""
    return all(not "\ud800" <= each <= "\udfff" for each in name)


def can_be_copied(name: str, encryption: Encryption | None = None) -> bool:
    """Whether a backup's file, and its manifest, can be given the name of a volume's file."""
    if not _is_text(name):
        return False
    raw = stored_name(f"{name}.zst", encryption).encode()
    return len(raw) <= _MOST_NAME_BYTES and all(
        len(part) <= _MOST_PART_BYTES for part in raw.split(b"/")
    )


def copy_sqlite(
    engine: Engine,
    place: Place,
    name: str,
    folder: Path,
    source: VolumeSource,
    encryption: Encryption | None = None,
) -> SqliteCopy | None:
    """Copy the database ``name`` of the volume at ``place``, check it, and store it in ``folder``.

    None if it was written to so much that no consistent copy could be had, or is gone. The copy
    has its log worked in: it is a single file. Raises OwctlError.
    """
    work = folder / ".sqlite"
    copy = work / "copy"
    try:
        work.mkdir(mode=0o700)
        try:
            path = f"{place.path.rstrip('/')}/{name}"
            if not sqlite.fetch_database(engine, place.container_id, path, copy):
                return None
            return _store_sqlite(copy, folder, source, name, encryption)
        finally:
            sqlite.empty_folder(work)
            work.rmdir()
    except OSError as error:
        raise cannot_write(work, error) from error


def _store_sqlite(
    copy: Path, folder: Path, volume: VolumeSource, name: str, encryption: Encryption | None
) -> SqliteCopy:
    complaints, rows = sqlite.examine(copy, is_new=True)
    with MemberFile(folder, f"sqlite/{volume.key}/{name}.zst", encryption=encryption) as file:
        with copy.open("rb") as source:
            while data := source.read(_COPY_BYTES):
                file.write(data)
        stored = file.finish()
    detail = {
        "volume": volume.key,
        "part": volume.part,
        "path": name,
        "integrity_check": complaints,
        "rows": rows,
    }
    problems = () if complaints == ["ok"] else tuple(complaints)
    return SqliteCopy(stored.member("sqlite", **detail), problems)
