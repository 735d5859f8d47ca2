"""A volume's archive on its way into the engine: every header written anew, and what two archives have in common."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from zlib import crc32

from owctl.errors import BackupInvalid
from owctl.volumes import tar
from owctl.volumes.archive_check import EntryCheck, plain
from owctl.volumes.tar import DIRECTORY, FIFO, HARD_LINK, SYMBOLIC_LINK, TarHeader, TarStream

# -- What is read: a member of a backup, however it is stored.


class Stored(Protocol):
    """What is known of a member before it is read: its name, and how long its content is."""

    @property
    def name(self) -> str:
        """The member's name in its backup."""

    @property
    def content_size_bytes(self) -> int:
        """The content's length, uncompressed."""

    @property
    def detail(self) -> Mapping[str, Any]:
        """What its kind adds, for example the numbers of entries and bytes that a volume unpacks to."""


class Content(Protocol):
    """A member's content: iterate for it once; ``finish`` tells whether it was what was stored."""

    @property
    def member(self) -> Stored:
        """What the manifest says of it."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the content in pieces of bounded size. Raises BackupInvalid."""

    def finish(self) -> None:
        """Raise BackupInvalid unless the whole content was what the manifest says."""


# -- What two archives of the same files have in common, in whatever order they come.

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


# -- The edit: every header is written anew.
# So the engine gets just what was checked, whatever else another reader might find in the archive. On
# the way, SQLite databases are replaced by their consistent copies, and what an interrupted restore
# left in the volume when it was archived is dropped.


STAGING_PREFIX = ".owctl-restore-"
_SQLITE_COMPANIONS = ("-wal", "-shm", "-journal")
_END = tar.EMPTY_BLOCK * 2


class ArchiveEdit:
    """Iterate for the tar to unpack at the engine's root so that the volume's is ``target``.

    ``copies`` are the contents that replace files, by path from the volume's root. Afterwards
    ``digest`` says what was passed on, ``root`` is the header of the volume's root (None if the
    archive had none), and ``ancient`` has names and times of what the engine makes younger: it
    knows no time before 1970. ``aging`` has those of folders and symbolic links, which Podman
    leaves as they come to be. Raises BackupInvalid.
    """

    def __init__(self, pieces: Iterable[bytes], target: str, copies: Mapping[str, Content]) -> None:
        self.digest = ArchiveDigest()
        self.root: TarHeader | None = None
        self.ancient: list[tuple[str, str]] = []
        self.aging: list[tuple[str, str]] = []
        self._stream = TarStream(pieces)
        self.target = target.strip("/")
        self._copies = copies
        self._unused = set(copies)
        self._dropped = {name + suffix for name in copies for suffix in _SQLITE_COMPANIONS}

    def __iter__(self) -> Iterator[bytes]:
        check = EntryCheck()
        for header in self._stream:
            name = check.look(header)
            if self._is_dropped(name):
                continue
            if name == "":
                self.root = header
            yield from self._entry(name, header)
        if self._unused:
            raise BackupInvalid(
                f"the archive lacks {sorted(self._unused)[0]!r}, of which the backup has a copy."
            )
        yield _END

    def _entry(self, name: str, header: TarHeader) -> Iterator[bytes]:
        copy = self._copies.get(name) if header.regular else None
        if copy is not None:
            header = replace(header, size_bytes=copy.member.content_size_bytes)
            self._unused.discard(name)
        link = self._linked(header) if header.type == HARD_LINK else header.link
        kind = b"0" if header.regular else header.type
        placed = replace(header, name=self._placed(name), type=kind, link=link)
        yield tar.encode(placed)
        checksum = 0
        for data in self._stream.content() if copy is None else _whole(copy):
            checksum = crc32(data, checksum)
            yield bytes(data) if isinstance(data, memoryview) else data
        if header.size_bytes:
            yield bytes(-header.size_bytes % tar.BLOCK_BYTES)
        self.digest.add(name, header, checksum)
        if header.type in (DIRECTORY, SYMBOLIC_LINK):
            self.aging.append((name, header.modified_at))
        if header.modified_second < 0 and header.type != HARD_LINK:
            self.ancient.append((name, header.modified_at))

    def _linked(self, header: TarHeader) -> str:
        target = plain(header.link)
        if self._is_dropped(target):
            raise BackupInvalid(
                f"the archive's entry {header.name!r} is a hard link to {target!r}, which is no "
                "part of the volume."
            )
        return self._placed(target)

    def _placed(self, name: str) -> str:
        return f"{self.target}/{name}" if name else self.target

    def _is_dropped(self, name: str) -> bool:
        return name.startswith(STAGING_PREFIX) or name in self._dropped


def digest_of(pieces: Iterable[bytes], *, with_root: bool) -> ArchiveDigest:
    """Return the digest of an archive whose names begin at the volume's root."""
    digest = ArchiveDigest()
    stream = TarStream(pieces)
    for header in stream:
        name = plain(header.name)
        if name or with_root:
            digest.add(name, header, checksum_of(stream.content()))
    return digest


def _whole(copy: Content) -> Iterator[bytes]:
    """Yield a copy's content, just as long as was announced; raises BackupInvalid."""
    left = copy.member.content_size_bytes
    for data in copy:
        left -= len(data)
        if left < 0:
            break
        yield data
    copy.finish()
    if left:
        raise BackupInvalid(f"{copy.member.name} is not as long as the manifest says.")
