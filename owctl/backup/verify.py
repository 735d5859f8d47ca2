"""Reading a backup back: sizes, SHA-256, compression, and the structure of what is inside."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from owctl.backup.dump_scan import DumpScanner
from owctl.backup.manifest import Kind, Manifest, Member
from owctl.backup.tar_scan import TarScanner
from owctl.errors import BackupInvalid, Interrupted

_READ_BYTES = 1024 * 1024
Check = Callable[[Iterator[bytes], Member], None]


def verify_backup(folder: Path, manifest: Manifest) -> None:
    """Verify every member that the manifest names; raises BackupInvalid naming the first bad one."""
    for member in manifest.members:
        verify_member(folder, member)


def verify_member(
    folder: Path, member: Member, *, cancelled: Callable[[], bool] = lambda: False
) -> None:
    """Read one member back and compare it with what the manifest says.

    ``cancelled`` is asked now and then; Interrupted is raised when it says so. Raises BackupInvalid.
    """
    try:
        _verify(folder / member.name, member, cancelled)
    except FileNotFoundError:
        raise BackupInvalid(f"{member.name} is missing in the backup.") from None
    except OSError as error:
        raise BackupInvalid(f"{member.name} cannot be read: {error.strerror or error}.") from error
    except BackupInvalid as error:
        raise BackupInvalid(
            f"{member.name}: {error.message}",
            hint=error.hint or "owctl backup, which makes a new one",
        ) from error


def _verify(path: Path, member: Member, cancelled: Callable[[], bool]) -> None:
    size = path.stat().st_size
    if size != member.size_bytes:
        raise BackupInvalid(f"it has {size} bytes, the manifest says {member.size_bytes}.")
    with path.open("rb") as file:
        stored = _HashedFile(file, cancelled)
        pieces = _decompressed(stored) if member.name.endswith(".zst") else stored.pieces()
        content = _Counted(pieces)
        _CHECKS[member.kind](iter(content), member)
        # The hash is of the whole file, whatever the check left unread.
        for _ in stored.pieces():
            pass
    if stored.digest.hexdigest() != member.sha256:
        raise BackupInvalid("its SHA-256 is not the manifest's.")
    if content.total_bytes != member.content_size_bytes:
        raise BackupInvalid(
            f"it holds {content.total_bytes} bytes, the manifest says {member.content_size_bytes}."
        )


class _HashedFile:
    """A file that is hashed while it is read."""

    def __init__(self, file: BinaryIO, cancelled: Callable[[], bool]) -> None:
        self.digest = hashlib.sha256()
        self._file = file
        self._cancelled = cancelled

    def read(self, size: int) -> bytes:
        if self._cancelled():
            raise Interrupted("Interrupted.")
        data = self._file.read(size)
        self.digest.update(data)
        return data

    def pieces(self) -> Iterator[bytes]:
        while data := self.read(_READ_BYTES):
            yield data


class _Counted:
    """Pieces of content, counted while they are read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.total_bytes = 0
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for data in self._pieces:
            self.total_bytes += len(data)
            yield data


def _decompressed(stored: _HashedFile) -> Iterator[bytes]:
    """Yield what a zstd file holds, in pieces of bounded size however well it was compressed."""
    import zstandard

    reader = zstandard.ZstdDecompressor().stream_reader(
        cast("BinaryIO", stored), read_size=_READ_BYTES
    )
    try:
        while content := reader.read(_READ_BYTES):
            yield content
    except zstandard.ZstdError as error:
        raise BackupInvalid(f"the compressed content is damaged ({error}).") from error


def _check_tar(content: Iterator[bytes], _: Member) -> None:
    scanner = TarScanner()
    for data in content:
        scanner.feed(data)
    scanner.finish()


def dump_head(path: Path) -> bytes:
    """Return the header and table of contents of a stored dump: all that a listing needs."""
    scanner = DumpScanner()
    with path.open("rb") as file:
        for data in _decompressed(_HashedFile(file, lambda: False)):
            scanner.feed(data)
            if scanner.head:
                return scanner.head
    scanner.finish()
    return scanner.head


def _check_database(content: Iterator[bytes], member: Member) -> None:
    scanner = DumpScanner()
    for data in content:
        scanner.feed(data)
    found = scanner.finish().rows
    for table, rows in sorted(member.detail.get("rows", {}).items()):
        if found.get(table) != rows:
            raise BackupInvalid(
                f"table {table} has {found.get(table, 'no')} rows in the dump, and had {rows} "
                "in the database."
            )


def _check_sqlite(content: Iterator[bytes], _: Member) -> None:
    first = next(content, b"")
    if not first.startswith(b"SQLite format 3\0"):
        raise BackupInvalid("it is no SQLite database.")
    for _data in content:
        pass


def _check_nothing(content: Iterator[bytes], _: Member) -> None:
    for _data in content:
        pass


_CHECKS: dict[Kind, Check] = {
    "database": _check_database,
    "volume": _check_tar,
    "sqlite": _check_sqlite,
    "configuration": _check_nothing,
}
