"""Reading a tar entry by entry while it flows past, with nothing kept but one header."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from owctl.backup import tar_header
from owctl.backup.tar_header import BLOCK_BYTES, TarHeader
from owctl.errors import BackupInvalid

# An entry has two or three at most: a name, a link, and records.
_MOST_EXTENSIONS = 8


class TarStream:
    """A tar that is read from pieces of any size.

    Iterate for the headers; ``content`` is that of the entry at hand, and what of it was not read
    is skipped. Ends only where the tar ends properly, else BackupInvalid is raised.
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._buffer = memoryview(b"")
        self._left = 0
        self._padding = 0
        self._name = "its beginning"

    def __iter__(self) -> Iterator[TarHeader]:
        overrides: dict[str, str] = {}
        extensions = 0
        while (block := self._next_block()) is not None:
            kind = block[156:157]
            if kind not in tar_header.EXTENSIONS:
                header = self._enter(block, overrides)
                overrides, extensions = {}, 0
                yield header
                self._skip()
                continue
            extensions += 1
            if extensions > _MOST_EXTENSIONS:
                raise BackupInvalid(f"The archive has absurd headers behind {self._name!r}.")
            self._extend(kind, block, overrides)
        self._finish()

    def content(self) -> Iterator[memoryview]:
        """Yield what is left of the present entry's content, in pieces of bounded size."""
        while self._left:
            if not self._buffer:
                self._refill()
            data = self._buffer[: self._left]
            self._buffer = self._buffer[len(data) :]
            self._left -= len(data)
            yield data

    def _enter(self, block: bytes, overrides: dict[str, str]) -> TarHeader:
        header = tar_header.decode(block, overrides)
        if header.type in tar_header.WITHOUT_CONTENT:
            header = replace(header, size_bytes=0)
        self._name = header.name
        self._left = header.size_bytes
        self._padding = -self._left % BLOCK_BYTES
        return header

    def _extend(self, kind: bytes, block: bytes, overrides: dict[str, str]) -> None:
        size = tar_header.number(block[124:136])
        if not 0 <= size <= tar_header.LARGEST_EXTENSION_BYTES:
            raise BackupInvalid(f"The archive has an extended header of {size} B.")
        content = self._take(size)
        self._take(-size % BLOCK_BYTES)
        if kind == b"L":
            overrides["path"] = tar_header.field_text(content)
        elif kind == b"K":
            overrides["linkpath"] = tar_header.field_text(content)
        elif kind == b"x":
            overrides |= tar_header.records(content)

    def _next_block(self) -> bytes | None:
        """Return the next header, None at the end-of-archive marker."""
        block = self._take(BLOCK_BYTES)
        if block != tar_header.EMPTY_BLOCK:
            tar_header.check_sum(block)
            return block
        if self._take(BLOCK_BYTES) != tar_header.EMPTY_BLOCK:
            raise BackupInvalid("The archive is damaged: an empty header stands within it.")
        return None

    def _finish(self) -> None:
        """Read the zeros that fill up the last record."""
        while True:
            if any(self._buffer):
                raise BackupInvalid("The archive has data behind its end-of-archive marker.")
            piece = next(self._pieces, None)
            if piece is None:
                return
            self._buffer = memoryview(piece)

    def _skip(self) -> None:
        for _ in self.content():
            pass
        self._take(self._padding)

    def _take(self, size: int) -> bytes:
        if len(self._buffer) >= size:
            data = bytes(self._buffer[:size])
            self._buffer = self._buffer[size:]
            return data
        taken = bytearray()
        while len(taken) < size:
            if not self._buffer:
                self._refill()
            step = self._buffer[: size - len(taken)]
            taken += step
            self._buffer = self._buffer[len(step) :]
        return bytes(taken)

    def _refill(self) -> None:
        while not self._buffer:
            piece = next(self._pieces, None)
            if piece is None:
                raise BackupInvalid(f"The archive is cut off within or behind {self._name!r}.")
            self._buffer = memoryview(piece)
