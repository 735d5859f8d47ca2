"""A volume's archive on its way into the engine: every header written anew, and what two archives have in common."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol
from zlib import crc32

from owctl.errors import BackupInvalid
from owctl.volumes import tar
from owctl.volumes.archive_check import EntryCheck, plain
from owctl.volumes.losses import Loss, printable
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
_CAPABILITIES = "its capabilities"
# The lengths of its three forms.
_CAPABILITY_BYTES = (12, 20, 24)
# Every file system and every engine has these times: 1970 to 2038.
_PLAIN_SECONDS = range(1 << 31)


@dataclass(slots=True)
class ArchiveDigest:
    """Sums of hashes over entries, one for each thing that can be wrong.

    A hard link and the file it belongs to may change places between two archives, so where there
    are any, contents are compared without the names. ``odd`` are the files with what not every disk
    can hold, by name: a time in seconds, else None, and capabilities.
    """

    entries: int = 0
    files_bytes: int = 0
    hard_links: int = 0
    sums: dict[str, int] = field(default_factory=dict)
    odd: dict[str, tuple[int | None, str | None]] = field(default_factory=dict)

    def add(self, name: str, header: TarHeader, checksum: int, *, odd_time: bool) -> None:
        """Take an entry; ``checksum`` is that of its content (see ``checksum_of``)."""
        self.entries += 1
        self._sum("names", name, _KINDS.get(header.type, "file"))
        mode = None if header.type == SYMBOLIC_LINK else header.mode
        self._sum("owners and modes", name, (header.user_id, header.group_id, mode))
        capability = header.attributes.get(_CAPABILITY) if header.extended else None
        if odd_time or capability is not None:
            self.odd[name] = (header.modified_second if odd_time else None, capability)
        if not odd_time:
            self._sum("times", name, header.modified_second)
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

    def losses(self, other: "ArchiveDigest") -> Iterator[Loss]:
        """Yield what the disk that ``other`` was read from cannot hold: it is as near as it can be."""
        for name, (second, capability) in sorted(self.odd.items()):
            found_second, found_capability = other.odd.get(name, (None, None))
            if second != found_second and second is not None:
                text = f"dated {_day(second)}, now {_day(found_second or 0)}"
                yield Loss(printable(name) or ".", text)
            if capability != found_capability and capability is not None:
                yield Loss(printable(name), _CAPABILITIES)

    @property
    def _comparable(self) -> list[str]:
        content = "contents" if self.hard_links else "contents by name"
        return ["names", "owners and modes", "times", "links", content]

    def _sum(self, what: str, *values: object) -> None:
        data = repr(values).encode("ascii", "backslashreplace")
        digest = hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()
        self.sums[what] = (self.sums.get(what, 0) + int.from_bytes(digest, "big")) % _WRAP


def has_odd_time(header: TarHeader) -> bool:
    """Whether some disk, or engine, cannot hold the time of a file."""
    return header.modified_second not in _PLAIN_SECONDS


def _can_be_set(capability: str | None) -> bool:
    if capability is None:
        return True
    return len(capability.encode("utf-8", "surrogateescape")) in _CAPABILITY_BYTES


def _day(second: int) -> str:
    try:
        return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):
        return f"{second} s from 1970"


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

    ``copies`` are the contents that replace files, by path from the volume's root; what lies below
    one of the paths ``hidden`` is left out, and files of ``sparse`` are ``emptied``. Afterwards ``digest`` says what was passed on, ``root``
    is the header of the volume's root (None if the archive had none), ``losses`` what was left out
    that ``check_archive`` does not name, and ``odd_times`` has names and times of what the engine
    dates 1970 (it knows no time before that, and none after 2262), and of ``sparse``. ``aging`` has those of folders
    and symbolic links, which Podman leaves as they come to be. Raises BackupInvalid.
    """

    def __init__(
        self,
        pieces: Iterable[bytes],
        target: str,
        copies: Mapping[str, Content],
        hidden: Collection[str] = (),
        sparse: Collection[str] = (),
    ) -> None:
        self.digest = ArchiveDigest()
        self.root: TarHeader | None = None
        self.losses: list[Loss] = []
        self.odd_times: list[tuple[str, str]] = []
        self.aging: list[tuple[str, str]] = []
        self._stream = TarStream(pieces)
        self.target = target.strip("/")
        self._copies = copies
        self.emptied: set[str] = set()
        self._sparse = frozenset(sparse) - copies.keys()
        self._hidden = frozenset(hidden)
        self._below = tuple(f"{name}/" for name in hidden)
        self._unused = {name for name in copies if not self._is_hidden(name)}
        self._dropped = {name + suffix for name in copies for suffix in _SQLITE_COMPANIONS}

    def __iter__(self) -> Iterator[bytes]:
        check = EntryCheck()
        for header in self._stream:
            name = check.look(header)
            if self._is_dropped(name, header) or name in check.left_out:
                continue
            if header.type == HARD_LINK and self._is_dropped(target := plain(header.link), header):
                check.leave_out(name, f"a hard link to '{printable(target)}'")
                self.losses.append(check.losses[-1])
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
        if header.extended and not _can_be_set(header.extended.get(_CAPABILITY)):
            # The engine would give up the whole archive.
            self.losses.append(Loss(printable(name), _CAPABILITIES))
            header = replace(header, extended={})
        link = self._placed(plain(header.link)) if header.type == HARD_LINK else header.link
        kind = b"0" if header.regular else header.type
        is_empty = header.regular and name in self._sparse
        size = 0 if is_empty else header.size_bytes
        placed = replace(header, name=self._placed(name), type=kind, link=link, size_bytes=size)
        yield tar.encode(placed)
        checksum = 0
        for data in self._stream.content() if copy is None else _whole(copy):
            checksum = crc32(data, checksum)
            if not is_empty:
                yield bytes(data) if isinstance(data, memoryview) else data
        if size:
            yield bytes(-size % tar.BLOCK_BYTES)
        odd_time = has_odd_time(header)
        self.digest.add(name, header, checksum, odd_time=odd_time)
        if header.type in (DIRECTORY, SYMBOLIC_LINK):
            self.aging.append((name, header.modified_at))
        if is_empty:
            self.emptied.add(name)
        if is_empty or (odd_time and header.type != HARD_LINK):
            self.odd_times.append((name, header.modified_at))

    def _placed(self, name: str) -> str:
        return f"{self.target}/{name}" if name else self.target

    def _is_dropped(self, name: str, header: TarHeader) -> bool:
        if name.startswith(STAGING_PREFIX) or (name in self._dropped and header.type != DIRECTORY):
            return True
        # The folder that something is mounted on is the volume's own.
        return self._is_hidden(name) and not (name in self._hidden and header.type == DIRECTORY)

    def _is_hidden(self, name: str) -> bool:
        return name in self._hidden or name.startswith(self._below)


def digest_of(
    pieces: Iterable[bytes], *, with_root: bool, odd: Collection[str] = ()
) -> ArchiveDigest:
    """Return the digest of an archive whose names begin at the volume's root.

    The times of those that are ``odd`` are looked at one by one.
    """
    digest = ArchiveDigest()
    stream = TarStream(pieces)
    for header in stream:
        name = plain(header.name)
        if name or with_root:
            checksum = checksum_of(stream.content())
            digest.add(name, header, checksum, odd_time=name in odd)
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
