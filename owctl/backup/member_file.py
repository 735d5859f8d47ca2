"""One member of a backup: written compressed and hashed while it flows, read back the same way."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

from owctl.backup.encryption import (
    SUFFIX,
    Decryptor,
    Identity,
    decryption_errors,
    identity_needed,
    no_identity_fits,
)
from owctl.backup.manifest import Kind, Member
from owctl.errors import BackupInvalid, Interrupted, OwctlError
from owctl.project.private_file import make_folder
from owctl.volumes.space import check_reserve

if TYPE_CHECKING:
    from owctl.backup.encryption import Encryption, Encryptor


# -- Writing.

# Every so often the disk is asked for its free space, and the user told how far it is.
_REPORT_BYTES = 8 * 1024 * 1024
# The jobs of all threads together: parallel compression takes about five times as much memory.
_JOBS_BYTES = 4 * 1024 * 1024
_MOST_THREADS = 4
_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a member's content on disk."""

    name: str
    size_bytes: int
    sha256: str
    content_size_bytes: int

    def member(self, kind: Kind, **detail: object) -> Member:
        """Return how it stands in the manifest; ``detail`` is what its kind adds."""
        return Member(
            self.name, kind, self.size_bytes, self.sha256, self.content_size_bytes, detail
        )


class MemberFile:
    """A member being written; ``finish`` makes it durable.

    ``folder`` is the backup's folder, ``name`` the path in it. ``on_bytes`` is told, now and then,
    how many bytes of content there are. With ``encryption`` the name gets ``.age``, and what is
    stored is encrypted behind the compression. Raises OwctlError if the disk is full.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        compressed: bool = True,
        on_bytes: Callable[[int], None] | None = None,
        encryption: "Encryption | None" = None,
    ) -> None:
        self.name = name if encryption is None else name + ".age"
        self.content_size_bytes = 0
        self.size_bytes = 0
        self._path = folder / self.name
        self._on_bytes = on_bytes
        self._report_at = _REPORT_BYTES
        self._hash = hashlib.sha256()
        self._compressor: Any = _compressor() if compressed else None
        try:
            make_folder(self._path.parent, 0o700)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise cannot_write(self._path, error) from error
        self._file = os.fdopen(descriptor, "wb")
        self._encryptor = _encryptor(encryption, self._store) if encryption is not None else None
        self._put = self._store if self._encryptor is None else self._encryptor.write

    def write(self, content: bytes) -> None:
        """Append content."""
        self.content_size_bytes += len(content)
        self._put(content if self._compressor is None else self._compressor.compress(content))
        if self.content_size_bytes >= self._report_at:
            self._report_at = self.content_size_bytes + _REPORT_BYTES
            check_reserve(self._path.parent)
            if self._on_bytes is not None:
                self._on_bytes(self.content_size_bytes)

    def finish(self) -> Stored:
        """Write what is left, and return when the file is on disk."""
        if self._compressor is not None:
            self._put(self._compressor.flush())
        if self._encryptor is not None:
            self._encryptor.finish()
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise cannot_write(self._path, error) from error
        return Stored(self.name, self.size_bytes, self._hash.hexdigest(), self.content_size_bytes)

    def close(self) -> None:
        """Give the file up; harmless after ``finish``."""
        if self._encryptor is not None:
            self._encryptor.close()
        try:
            self._file.close()
        except OSError as error:
            # Closing flushes: on a full disk it fails, too, and the file is given up anyway.
            raise cannot_write(self._path, error) from error

    def __enter__(self) -> "MemberFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        try:
            self.close()
        except OwctlError as second:
            error.add_note(second.message)

    def _store(self, data: bytes) -> None:
        if not data:
            return
        self._hash.update(data)
        self.size_bytes += len(data)
        try:
            self._file.write(data)
        except OSError as error:
            raise cannot_write(self._path, error) from error


def write_small(
    folder: Path, name: str, content: bytes, encryption: "Encryption | None" = None
) -> Stored:
    """Store content without compression, in one go."""
    with MemberFile(folder, name, compressed=False, encryption=encryption) as file:
        file.write(content)
        return file.finish()


def cannot_write(path: Path, error: OSError) -> OwctlError:
    """Return the error that says why ``path`` cannot be written."""
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OwctlError(
            f"The backup was given up: no space is left in {path.parent}.",
            hint="make room there, or name a folder on another disk with --output",
        )
    return OwctlError(
        f"Cannot write {path}: {error.strerror or error}.",
        hint="name a folder that you may write to with --output",
    )


def _encryptor(encryption: "Encryption", sink: Callable[[bytes], None]) -> "Encryptor":
    from owctl.backup.encryption import Encryptor

    return Encryptor(encryption, sink)


def _compressor() -> Any:  # noqa: ANN401  # zstandard's compression object has no public type
    import zstandard

    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL,
        threads=threads,
        job_size=_JOBS_BYTES // threads,
        write_checksum=True,
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compressobj()


# -- Reading.

_READ_BYTES = 1024 * 1024


class MemberContent:
    """The content of one member of the backup in ``folder``; a context manager.

    Iterate for the content in pieces of bounded size, however well it was compressed; ``finish``
    then tells whether it was what the manifest says, so what was made of the content counts only
    after it. ``identities`` decrypt it where it is encrypted; without one that fits, iterating raises
    UsageError or ConfigurationError. ``cancelled`` is asked now and then; Interrupted is raised when
    it says so. Raises BackupInvalid for a file that is missing, cannot be read, or is not what was
    stored.
    """

    def __init__(
        self,
        folder: Path,
        member: Member,
        *,
        identities: Sequence[Identity] = (),
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self.member = member
        self.content_bytes = 0
        self._cancelled = cancelled
        self._digest = hashlib.sha256()
        self._identities = identities
        self._decryptor: Decryptor | None = None
        try:
            self._file = (folder / member.name).open("rb")
        except FileNotFoundError:
            raise BackupInvalid(f"{member.name} is missing in the backup.") from None
        except OSError as error:
            raise self._unreadable(error) from error
        compressed = member.name.removesuffix(SUFFIX).endswith(".zst")
        self._pieces = self._decompressed() if compressed else self._plain()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._decryptor is not None:
            self._decryptor.close()
        self._file.close()

    def __iter__(self) -> Iterator[bytes]:
        for data in self._pieces:
            self.content_bytes += len(data)
            yield data

    def finish(self) -> None:
        """Read what is left and compare sizes and SHA-256 with the manifest's."""
        for _ in self:
            pass
        self.finish_stored()
        if self.content_bytes != self.member.content_size_bytes:
            raise BackupInvalid(
                f"it holds {self.content_bytes} bytes, the manifest says "
                f"{self.member.content_size_bytes}."
            )

    def finish_stored(self) -> None:
        """Read what is left of the file, and compare its SHA-256 with the manifest's."""
        if self._decryptor is not None:
            self._decryptor.close()
        # The hash is of the whole file, whatever decompression left unread.
        while self.read(_READ_BYTES):
            pass
        if self._digest.hexdigest() != self.member.sha256:
            raise BackupInvalid("its SHA-256 is not the manifest's.")

    def read(self, size: int) -> bytes:
        """Return the next bytes as stored; what decryption and decompression read through."""
        if self._cancelled():
            raise Interrupted("Interrupted.")
        try:
            data = self._file.read(size)
        except OSError as error:
            raise self._unreadable(error) from error
        self._digest.update(data)
        return data

    def cannot_decrypt(self, error: Exception) -> OwctlError:
        """Return what is wrong: the file, or who wants to read it."""
        try:
            self.finish_stored()
        except BackupInvalid as broken:
            return broken
        if isinstance(error, OSError):
            return BackupInvalid(f"the encrypted content is damaged ({error}).")
        return no_identity_fits(self.member.name, self._identities)

    def _plain(self) -> Iterator[bytes]:
        read = self._opened().read
        while data := read(_READ_BYTES):
            yield data

    def _decompressed(self) -> Iterator[bytes]:
        import zstandard

        reader = zstandard.ZstdDecompressor().stream_reader(
            cast("BinaryIO", self._opened()), read_size=_READ_BYTES
        )
        try:
            while content := reader.read(_READ_BYTES):
                yield content
        except zstandard.ZstdError as error:
            raise BackupInvalid(f"the compressed content is damaged ({error}).") from error

    def _opened(self) -> "MemberContent | _Decrypted":
        """Return what the content is read from, before decompression."""
        if not self.member.name.endswith(SUFFIX):
            return self
        if not self._identities:
            raise identity_needed(self.member.name)
        self._decryptor = Decryptor(self, self._identities)
        return _Decrypted(self, self._decryptor)

    def _unreadable(self, error: OSError) -> BackupInvalid:
        return BackupInvalid(f"{self.member.name} cannot be read: {error.strerror or error}.")


class _Decrypted:
    """The decrypted content of a member, with errors that say what is wrong."""

    def __init__(self, member_content: MemberContent, decryptor: Decryptor) -> None:
        self._member_content = member_content
        self._decryptor = decryptor

    def read(self, size: int) -> bytes:
        try:
            return self._decryptor.read(size)
        except decryption_errors() as error:
            raise self._member_content.cannot_decrypt(error) from None
