"""A volume's archive on its way into the engine: every header is written anew.

So the engine gets just what was checked, whatever else another reader might find in the archive. On
the way, SQLite databases are replaced by their consistent copies, and what an interrupted restore
left in the volume when it was archived is dropped.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from zlib import crc32

from owctl.backup import tar_header
from owctl.backup.restore.archive_check import EntryCheck, plain
from owctl.backup.restore.archive_digest import ArchiveDigest, checksum_of
from owctl.backup.restore.content import Content
from owctl.backup.tar_header import DIRECTORY, HARD_LINK, SYMBOLIC_LINK, TarHeader
from owctl.backup.tar_stream import TarStream
from owctl.errors import BackupInvalid

STAGING_PREFIX = ".owctl-restore-"
_SQLITE_COMPANIONS = ("-wal", "-shm", "-journal")
_END = tar_header.EMPTY_BLOCK * 2


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
        yield tar_header.encode(placed)
        checksum = 0
        for data in self._stream.content() if copy is None else _whole(copy):
            checksum = crc32(data, checksum)
            yield bytes(data) if isinstance(data, memoryview) else data
        if header.size_bytes:
            yield bytes(-header.size_bytes % tar_header.BLOCK_BYTES)
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
