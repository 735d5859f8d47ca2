"""Uploads: which files the database names, where they lie, and how they get into the volume."""

import hashlib
import os
import posixpath
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from owctl.backup.member_file import MemberContent
from owctl.engine.archives import read_archive, stat_path, write_archive
from owctl.errors import BackupInvalid, OwctlError
from owctl.migrate.convert.values import relative_to, upload_name
from owctl.migrate.source.capture import Captured, Place
from owctl.project.private_file import cannot
from owctl.volumes import tar
from owctl.volumes.tar import BLOCK_BYTES, DIRECTORY, EMPTY_BLOCK, TarHeader, TarStream

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container


# -- The uploaded files of the source, entry by entry: from the captured archive, or from a folder.


_READ_BYTES = 1 << 18
# A name relative to the uploads' folder, its size in bytes, the second of its change, its content.
Entry = tuple[str, int, int, Iterable[bytes | memoryview]]


@contextmanager
def open_uploads(captured: Captured) -> Iterator[Iterator[Entry]]:
    """Yield the files; each entry's content is read before the next entry is asked for.

    An archive that is not what was captured raises BackupInvalid when it has been read.
    """
    if captured.uploads is not None:
        with MemberContent(captured.folder, captured.uploads) as content:
            yield _from_archive(content)
            try:
                content.finish()
            except BackupInvalid as error:
                raise BackupInvalid(f"{captured.uploads.name}: {error.message}") from error
    elif captured.uploads_dir is not None:
        yield _from_folder(captured.uploads_dir)
    else:
        yield iter(())


def _from_archive(content: Iterable[bytes]) -> Iterator[Entry]:
    stream = TarStream(content)
    for header in stream:
        if header.regular:
            name = header.name.removeprefix("./")
            yield name, header.size_bytes, header.modified_second, stream.content()


def _from_folder(folder: Path) -> Iterator[Entry]:
    for path in _walk(folder):
        try:
            with path.open("rb") as file:
                found = os.fstat(file.fileno())
                size, modified = found.st_size, int(found.st_mtime)
                yield str(path.relative_to(folder)), size, modified, _pieces(path, file, size)
        except OSError as error:
            raise cannot("read", path, error) from error


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            # A link may lead anywhere: only what lies here itself is taken.
            if path.is_file() and not path.is_symlink():
                yield path


def _pieces(path: Path, file: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        data = file.read(min(size, _READ_BYTES))
        if not data:
            raise OwctlError(f"{path} became shorter while it was read.", hint="the same again")
        size -= len(data)
        yield data


# -- The uploaded files into the new backend's volume, to where its database says that they are.


_FILE_MODE = 0o644
_FOLDER_MODE = 0o755
_REGULAR = b"0"
OnBytes = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A row of ``file``: its id, and its path at the old and at the new backend."""

    id: str
    old_path: str
    new_path: str


@dataclass(frozen=True, slots=True)
class FilesResult:
    """What became of the files.

    ``missing`` are rows whose content the source does not have, ``elsewhere`` rows whose path is
    not in the uploads' folder (another storage), ``unreferenced`` files that no row names, and
    ``of_rejected`` those of rows that stayed behind; both stay in the captured copy. ``hashes`` is
    SHA-256 by name in the folder, as it was read back.
    """

    copied: int = 0
    copied_bytes: int = 0
    missing: tuple[StoredFile, ...] = ()
    elsewhere: tuple[StoredFile, ...] = ()
    unreferenced: tuple[str, ...] = ()
    of_rejected: tuple[str, ...] = ()
    hashes: Mapping[str, str] = field(default_factory=dict, repr=False)


def files_document(result: FilesResult) -> dict[str, Any]:
    """Return what became of the files as the report holds it."""

    def listed(rows: tuple[StoredFile, ...]) -> list[dict[str, str]]:
        return [{"id": row.id, "path": row.old_path} for row in rows]

    return {
        "copied": result.copied,
        "copied_bytes": result.copied_bytes,
        "missing": listed(result.missing),
        "elsewhere": listed(result.elsewhere),
        "unreferenced": list(result.unreferenced),
        "of_rejected_rows": list(result.of_rejected),
    }


def captured_sizes(captured: Captured) -> dict[str, int] | None:
    """Return the size in bytes of each captured file by its name; None without a folder of uploads."""
    if captured.uploads is None and captured.uploads_dir is None:
        return None
    with open_uploads(captured) as entries:
        return {name: size for name, size, _, _ in entries}


def folder_sizes(folder: Path) -> dict[str, int]:
    """Return the size of each file of a folder of this machine, by its name in it."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in _walk(folder)}


def place_sizes(engine: "Engine", place: Place) -> dict[str, int] | None:
    """Return the same of the uploads of a container or volume, None where there are none."""
    if stat_path(engine, place.container_id, place.uploads) is None:
        return None
    with read_archive(engine, place.container_id, f"{place.uploads}/.") as stream:
        return {name: size for name, size, _, _ in _from_archive(stream)}


def foretell_files(
    rows: Iterable[StoredFile], rejected: Iterable[str], upload_dir: str, sizes: Mapping[str, int]
) -> FilesResult:
    """Return what will become of the captured files, by their names and sizes; nothing is copied."""
    wanted, elsewhere = _wanted(rows, upload_dir, sizes)
    copied = [name for name in wanted if name in sizes]
    unreferenced, of_rejected = _unnamed(sorted(set(sizes) - set(copied)), rejected, sizes)
    return FilesResult(
        copied=len(copied),
        copied_bytes=sum(sizes[name] for name in copied),
        missing=tuple(row for name, found in wanted.items() if name not in sizes for row in found),
        elsewhere=tuple(elsewhere),
        unreferenced=unreferenced,
        of_rejected=of_rejected,
    )


def copy_files(
    engine: "Engine",
    container_id: str,
    upload_dir: str,
    captured: Captured,
    rows: Iterable[StoredFile],
    on_bytes: OnBytes = lambda *_: None,
    *,
    rejected: Iterable[str] = (),
    names: Collection[str] | None = None,
) -> FilesResult:
    """Copy the files that the rows name into a container's folder, and read them back.

    The container may be stopped. Files get the owner of the folder. ``on_bytes`` is told how many
    files and bytes there are so far. ``rejected`` are paths of rows that stayed behind, ``names``
    what was captured. Raises OwctlError; then what was copied stays, and copying again is harmless.
    """
    wanted, elsewhere = _wanted(rows, upload_dir, names)
    folder = PurePosixPath(upload_dir)
    owner = _owner(engine, container_id, folder)
    sender = _Sender(wanted, owner, folder, on_bytes)
    with open_uploads(captured) as entries:
        write_archive(engine, container_id, str(folder.parent), sender.archive(entries))
    _read_back(engine, container_id, folder, sender.hashes)
    sent = set(sender.sources)
    unreferenced, of_rejected = _unnamed(sender.unreferenced, rejected, names)
    return FilesResult(
        copied=len(sender.hashes),
        copied_bytes=sender.content_bytes,
        missing=tuple(row for name, found in wanted.items() if name not in sent for row in found),
        elsewhere=tuple(elsewhere),
        unreferenced=unreferenced,
        of_rejected=of_rejected,
        hashes=sender.hashes,
    )


# Everything in the folder itself, whatever it is called; a folder that is not there is empty.
_EMPTY = """cd "$1" 2>/dev/null || exit 0
for name in * .[!.]* ..?*; do rm -rf -- "$name"; done"""


def remove_uploads(engine: "Engine", project: str, container: "Container", upload_dir: str) -> bool:
    """Remove what lies in a container's folder of uploads; False if that is in no volume.

    The caller has a backup of it. Raises OwctlError.
    """
    from owctl.volumes.one_off import volume_helper

    whole = posixpath.normpath(upload_dir)
    holding = [
        mount
        for mount in container.mounts
        if mount.destination == whole or relative_to(mount.destination, whole)
    ]
    mount = max(holding, key=lambda each: len(each.destination), default=None)
    if mount is None or mount.type != "volume":
        return False
    inside = relative_to(mount.destination, whole) or "."
    with volume_helper(
        engine, project, container.image_id, mount.name, "restore", writable=True, running=True
    ) as helper:
        helper.run(_EMPTY, [inside])
    return True


def _unnamed(
    left: Iterable[str], rejected: Iterable[str], names: Collection[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which of the files that are left no row names at all, and which a rejected one does."""
    theirs = {upload_name(path, names) for path in rejected}
    found = list(left)
    return (
        tuple(name for name in found if name not in theirs),
        tuple(name for name in found if name in theirs),
    )


@dataclass(frozen=True, slots=True)
class _Owner:
    """To whom new files shall belong, and whether the folder has to be made."""

    user_id: int
    group_id: int
    exists: bool


class _Sender:
    """Makes the tar stream of the wanted files while it reads the source."""

    def __init__(
        self,
        wanted: Mapping[str, list[StoredFile]],
        owner: _Owner,
        folder: PurePosixPath,
        on_bytes: OnBytes,
    ) -> None:
        self.hashes: dict[str, str] = {}
        self.sources: list[str] = []
        self.unreferenced: list[str] = []
        self.content_bytes = 0
        self._wanted = wanted
        self._owner = owner
        self._upload_dir = str(folder)
        self._folder = folder.name
        self._made: set[str] = set()
        self._on_bytes = on_bytes

    def archive(self, entries: Iterable[Entry]) -> Iterator[bytes]:
        """Yield the tar, piece by piece."""
        if not self._owner.exists:
            yield tar.encode(self._header(self._folder + "/", DIRECTORY, 0, 0))
        for name, size, modified, content in entries:
            rows = self._wanted.get(name)
            if rows is None:
                self.unreferenced.append(name)
                continue
            yield from self._file(name, rows[0], size, modified, content)
        yield EMPTY_BLOCK * 2

    def _file(
        self,
        name: str,
        row: StoredFile,
        size: int,
        modified: int,
        content: Iterable[bytes | memoryview],
    ) -> Iterator[bytes]:
        target = relative_to(self._upload_dir, row.new_path) or posixpath.basename(row.new_path)
        yield from self._parents(target)
        yield tar.encode(self._header(f"{self._folder}/{target}", _REGULAR, size, modified))
        digest = hashlib.sha256()
        for data in content:
            digest.update(data)
            self.content_bytes += len(data)
            yield bytes(data)
            self._on_bytes(len(self.hashes), self.content_bytes)
        yield bytes(-size % BLOCK_BYTES)
        self.hashes[target] = digest.hexdigest()
        self.sources.append(name)

    def _parents(self, target: str) -> Iterator[bytes]:
        """Yield the folders of a file below that of the uploads; the engine would make root's."""
        for parent in reversed(PurePosixPath(target).parents[:-1]):
            if str(parent) not in self._made:
                self._made.add(str(parent))
                yield tar.encode(self._header(f"{self._folder}/{parent}/", DIRECTORY, 0, 0))

    def _header(self, name: str, kind: bytes, size: int, modified: int) -> TarHeader:
        return TarHeader(
            name,
            kind,
            size,
            _FOLDER_MODE if kind == DIRECTORY else _FILE_MODE,
            self._owner.user_id,
            self._owner.group_id,
            str(modified),
        )


def count_in_uploads(rows: Iterable[StoredFile], upload_dir: str) -> int:
    """Return how many of the rows name a file in the folder of uploads."""
    return sum(map(len, _wanted(rows, upload_dir)[0].values()))


def _wanted(
    rows: Iterable[StoredFile], upload_dir: str, names: Collection[str] | None = None
) -> tuple[dict[str, list[StoredFile]], list[StoredFile]]:
    """Return the rows by the name of their file in the uploads' folder, and those elsewhere."""
    wanted: dict[str, list[StoredFile]] = {}
    elsewhere: list[StoredFile] = []
    for row in rows:
        name = upload_name(row.old_path, names)
        if name is None or relative_to(upload_dir, row.new_path) is None:
            elsewhere.append(row)
        else:
            wanted.setdefault(name, []).append(row)
    return wanted, elsewhere


def _owner(engine: "Engine", container_id: str, folder: PurePosixPath) -> _Owner:
    """Return the owner of the folder, or of the nearest one above it that exists."""
    for path in (folder, folder.parent):
        if stat_path(engine, container_id, str(path)) is not None:
            with read_archive(engine, container_id, str(path)) as stream:
                header = next(iter(TarStream(stream)))
            return _Owner(header.user_id, header.group_id, path == folder)
    raise OwctlError(
        f"The new backend has no folder {folder.parent} for uploads.",
        hint="the volume of the backend in the compose file, or UPLOAD_DIR",
    )


def _read_back(
    engine: "Engine", container_id: str, folder: PurePosixPath, hashes: Mapping[str, str]
) -> None:
    """Compare what lies in the folder with what was sent; raises OwctlError."""
    if not hashes:
        return
    left = dict(hashes)
    with read_archive(engine, container_id, f"{folder}/.") as archive:
        stream = TarStream(archive)
        for header in stream:
            name = header.name.removeprefix("./")
            if not header.regular or name not in left:
                continue
            digest = hashlib.sha256()
            for data in stream.content():
                digest.update(data)
            if digest.hexdigest() == left[name]:
                del left[name]
    if left:
        shown = ", ".join(sorted(left)[:3])
        raise OwctlError(
            f"{len(left)} of {len(hashes)} files do not read back as they were sent: {shown}.",
            hint="the same command again",
        )
