"""What a member holds: read from its file, hashed, decrypted and decompressed on the way."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from owctl.backup.encrypted_stream import Decryptor
from owctl.backup.encryption import (
    SUFFIX,
    Identity,
    decryption_errors,
    identity_needed,
    no_identity_fits,
)
from owctl.backup.manifest import Member
from owctl.errors import BackupInvalid, Interrupted, OwctlError

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
