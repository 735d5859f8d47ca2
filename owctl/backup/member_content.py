"""What a member holds: read from its file, hashed and decompressed on the way."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from owctl.backup.manifest import Member
from owctl.errors import BackupInvalid, Interrupted

_READ_BYTES = 1024 * 1024


class MemberContent:
    """The content of one member of the backup in ``folder``; a context manager.

    Iterate for the content in pieces of bounded size, however well it was compressed; ``finish``
    then tells whether it was what the manifest says, so what was made of the content counts only
    after it. ``cancelled`` is asked now and then; Interrupted is raised when it says so. Raises
    BackupInvalid for a file that is missing, cannot be read, or is not what was stored.
    """

    def __init__(
        self, folder: Path, member: Member, *, cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        self.member = member
        self.content_bytes = 0
        self._cancelled = cancelled
        self._digest = hashlib.sha256()
        try:
            self._file = (folder / member.name).open("rb")
        except FileNotFoundError:
            raise BackupInvalid(f"{member.name} is missing in the backup.") from None
        except OSError as error:
            raise self._unreadable(error) from error
        self._pieces = self._decompressed() if member.name.endswith(".zst") else self._stored()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[bytes]:
        for data in self._pieces:
            self.content_bytes += len(data)
            yield data

    def finish(self) -> None:
        """Read what is left and compare sizes and SHA-256 with the manifest's."""
        for _ in self:
            pass
        # The hash is of the whole file, whatever decompression left unread.
        for _ in self._stored():
            pass
        if self._digest.hexdigest() != self.member.sha256:
            raise BackupInvalid("its SHA-256 is not the manifest's.")
        if self.content_bytes != self.member.content_size_bytes:
            raise BackupInvalid(
                f"it holds {self.content_bytes} bytes, the manifest says "
                f"{self.member.content_size_bytes}."
            )

    def read(self, size: int) -> bytes:
        """Return the next bytes as stored; what zstandard reads through."""
        if self._cancelled():
            raise Interrupted("Interrupted.")
        try:
            data = self._file.read(size)
        except OSError as error:
            raise self._unreadable(error) from error
        self._digest.update(data)
        return data

    def _stored(self) -> Iterator[bytes]:
        while data := self.read(_READ_BYTES):
            yield data

    def _decompressed(self) -> Iterator[bytes]:
        import zstandard

        reader = zstandard.ZstdDecompressor().stream_reader(
            cast("BinaryIO", self), read_size=_READ_BYTES
        )
        try:
            while content := reader.read(_READ_BYTES):
                yield content
        except zstandard.ZstdError as error:
            raise BackupInvalid(f"the compressed content is damaged ({error}).") from error

    def _unreadable(self, error: OSError) -> BackupInvalid:
        return BackupInvalid(f"{self.member.name} cannot be read: {error.strerror or error}.")
