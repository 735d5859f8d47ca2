"""What two archives of the same files have in common, in whatever order they come."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from zlib import crc32

from owctl.backup.tar_header import DIRECTORY, FIFO, HARD_LINK, SYMBOLIC_LINK, TarHeader

_DIGEST_BYTES = 16
_WRAP = 1 << (8 * _DIGEST_BYTES)
_KINDS = {DIRECTORY: "folder", FIFO: "fifo", SYMBOLIC_LINK: "link"}
# The one extended attribute that the engine both writes and reads.
_CAPABILITY = "SCHILY.xattr.security.capability"


@dataclass(slots=True)
class ArchiveDigest:
    """Sums of hashes over entries, one for each thing that can be wrong.

    A hard link and the file it belongs to may change places between two archives, so where there
    are any, contents are compared without the names.
    """

    entries: int = 0
    files_bytes: int = 0
    hard_links: int = 0
    sums: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, header: TarHeader, checksum: int) -> None:
        """Take an entry; ``checksum`` is that of its content (see ``checksum_of``)."""
        self.entries += 1
        self._sum("names", name, _KINDS.get(header.type, "file"))
        mode = None if header.type == SYMBOLIC_LINK else header.mode
        owner = (header.user_id, header.group_id, mode, header.attributes.get(_CAPABILITY))
        self._sum("owners and modes", name, owner)
        # The engine sets no time before 1970; that is done later, where the image's touch can.
        self._sum("times", name, max(header.modified_second, 0))
        if header.type == SYMBOLIC_LINK:
            self._sum("links", name, header.link)
        elif header.type == HARD_LINK:
            self.hard_links += 1
        elif header.regular:
            self.files_bytes += header.size_bytes
            self._sum("contents", header.size_bytes, checksum)
            self._sum("contents by name", name, header.size_bytes, checksum)

    def differences(self, other: "ArchiveDigest") -> list[str]:
        """Return in words what differs, nothing if nothing does."""
        found = []
        for what in ("entries", "files_bytes", "hard_links"):
            mine, theirs = getattr(self, what), getattr(other, what)
            if mine != theirs:
                found.append(f"{what.replace('_', ' ')} ({mine} and {theirs})")
        found += [what for what in self._comparable if self.sums.get(what) != other.sums.get(what)]
        return found

    @property
    def _comparable(self) -> list[str]:
        content = "contents" if self.hard_links else "contents by name"
        return ["names", "owners and modes", "times", "links", content]

    def _sum(self, what: str, *values: object) -> None:
        data = repr(values).encode("ascii", "backslashreplace")
        digest = hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()
        self.sums[what] = (self.sums.get(what, 0) + int.from_bytes(digest, "big")) % _WRAP


def checksum_of(pieces: Iterable[bytes | memoryview]) -> int:
    """Return the checksum of an entry's content. It finds accidents; it is no proof of origin."""
    checksum = 0
    for data in pieces:
        checksum = crc32(data, checksum)
    return checksum
