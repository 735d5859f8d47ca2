"""Reading a tar stream's structure while it flows past: names, sizes, first bytes, proper end."""

from collections.abc import Callable
from dataclasses import dataclass

from owctl.errors import BackupInvalid
from owctl.volumes.tar import (
    BLOCK_BYTES,
    EMPTY_BLOCK,
    EXTENSIONS,
    LARGEST_EXTENSION_BYTES,
    REGULAR,
    WITHOUT_CONTENT,
    check_sum,
    field_text,
    number,
    records,
)

HEAD_BYTES = 16


@dataclass(frozen=True, slots=True)
class TarEntry:
    """An entry of a tar; ``head`` is the first bytes of a regular file."""

    name: str
    type: bytes
    size_bytes: int
    head: bytes = b""

    @property
    def regular(self) -> bool:
        """Whether the entry is a file with content of its own."""
        return self.type in REGULAR


class TarScanner:
    """Follows a tar stream that is fed in pieces of any size; keeps nothing but a header.

    ``on_entry`` gets each entry once its head is known. Damage raises BackupInvalid.
    """

    def __init__(self, on_entry: Callable[[TarEntry], None] | None = None) -> None:
        self.entries = 0
        self.content_bytes = 0
        self._on_entry = on_entry
        self._header = bytearray()
        self._content_left = 0
        self._padding_left = 0
        self._wanted_left = 0
        self._collected = bytearray()
        self._current: TarEntry | None = None
        self._overrides: dict[str, str] = {}
        self._empty_blocks = 0

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next bytes of the stream."""
        view = memoryview(data)
        position, end = 0, len(view)
        while position < end:
            if self._content_left:
                position += self._take_content(view[position : position + self._content_left])
            elif self._padding_left:
                step = min(self._padding_left, end - position)
                self._padding_left -= step
                position += step
            else:
                step = min(BLOCK_BYTES - len(self._header), end - position)
                self._header += view[position : position + step]
                position += step
                if len(self._header) == BLOCK_BYTES:
                    block = bytes(self._header)
                    self._header.clear()
                    self._take_header(block)

    def finish(self) -> None:
        """Say that the stream is over; raises BackupInvalid unless it ended as a tar must."""
        if self._content_left or self._padding_left or self._header:
            name = self._current.name if self._current else "an entry"
            raise BackupInvalid(f"The archive is cut off within {name}.")
        if self._empty_blocks < 2:
            raise BackupInvalid("The archive is cut off: it has no end-of-archive marker.")

    def _take_content(self, data: memoryview) -> int:
        if self._wanted_left:
            wanted = data[: self._wanted_left]
            self._collected += wanted
            self._wanted_left -= len(wanted)
        self._content_left -= len(data)
        if not self._wanted_left and self._current is not None:
            self._entry_known()
        return len(data)

    def _take_header(self, block: bytes) -> None:
        if block == EMPTY_BLOCK:
            self._empty_blocks += 1
            return
        if self._empty_blocks >= 2:
            raise BackupInvalid("The archive has data behind its end-of-archive marker.")
        self._empty_blocks = 0
        check_sum(block)
        entry = self._entry(block)
        has_content = entry.type not in WITHOUT_CONTENT
        self._content_left = entry.size_bytes if has_content else 0
        self._padding_left = -self._content_left % BLOCK_BYTES
        self._collected.clear()
        self._current = entry
        if entry.type in EXTENSIONS:
            if entry.size_bytes > LARGEST_EXTENSION_BYTES:
                raise BackupInvalid(f"The archive has an extended header of {entry.size_bytes} B.")
            self._wanted_left = entry.size_bytes
        else:
            self._wanted_left = min(self._content_left, HEAD_BYTES)
        if not self._wanted_left:
            self._entry_known()

    def _entry(self, block: bytes) -> TarEntry:
        kind = block[156:157]
        if kind in EXTENSIONS:
            return TarEntry("an extended header", kind, number(block[124:136]))
        name, overrides = field_text(block[0:100]), self._overrides
        self._overrides = {}
        prefix = field_text(block[345:500]) if block[257:263] == b"ustar\0" else ""
        size = int(overrides["size"]) if "size" in overrides else number(block[124:136])
        return TarEntry(
            overrides.get("path") or (f"{prefix}/{name}" if prefix else name), kind, size
        )

    def _entry_known(self) -> None:
        entry, self._current = self._current, None
        if entry is None:
            return
        content = bytes(self._collected)
        if entry.type == b"L":
            self._overrides["path"] = content.rstrip(b"\0").decode("utf-8", "surrogateescape")
        elif entry.type == b"x":
            self._overrides |= records(content)
        elif entry.type not in EXTENSIONS:
            self.entries += 1
            self.content_bytes += entry.size_bytes if entry.regular else 0
            if self._on_entry is not None:
                self._on_entry(TarEntry(entry.name, entry.type, entry.size_bytes, content))
