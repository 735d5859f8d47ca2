"""Archives that would do harm: refused before anything of them is unpacked.

An archive is a list of instructions. What could reach beyond the folder that it is unpacked into, or
ask for things that no backup has, makes it invalid. A symbolic link by itself is only data, wherever
it leads; an entry behind one is not. What a volume may well have, and no restore makes, is left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from owctl.errors import BackupInvalid
from owctl.volumes import tar
from owctl.volumes.losses import Loss, printable, why_left_out
from owctl.volumes.tar import DIRECTORY, FIFO, HARD_LINK, SYMBOLIC_LINK, TarHeader, TarStream

_DEVICES = (b"3", b"4")
_KINDS = (*tar.REGULAR, HARD_LINK, SYMBOLIC_LINK, DIRECTORY, FIFO, *_DEVICES)
_REFUSED = {b"S": "a sparse file"}
# Linux's own limits.
_MOST_NAME_BYTES = 4096
_MOST_PART_BYTES = 255
_HINT = "a backup that owctl made and nobody changed"


@dataclass(frozen=True, slots=True)
class ArchiveSummary:
    """What an archive has: entries, the bytes of its files, and which entries are not unpacked."""

    entries: int
    files_bytes: int
    losses: tuple[Loss, ...] = ()


class EntryCheck:
    """Looks at the entries of one archive in their order.

    Every entry's folder must have come before it, as a folder: so nothing can be behind a link.
    ``left_out`` are the names that no restore unpacks, ``losses`` say why.
    """

    def __init__(self) -> None:
        self.entries = 0
        self.files_bytes = 0
        self.left_out: set[str] = set()
        self.losses: list[Loss] = []
        self._folders = {""}
        self._links: set[str] = set()

    def look(self, header: TarHeader) -> str:
        """Return the entry's name from the archive's root, "" for the root itself.

        Raises BackupInvalid, naming the entry.
        """
        _check_kind(header)
        _check_name(header.name, header, "leads out of the volume")
        name = plain(header.name)
        if not name and header.type != DIRECTORY:
            raise _refused(header, "has no name, and is no folder")
        self._check_place(name, header)
        if header.type == HARD_LINK:
            self._check_hard_link(header)
        elif header.type == SYMBOLIC_LINK:
            self._links.add(name)
            if not 0 < len(_bytes(header.link)) < _MOST_NAME_BYTES:
                raise _refused(header, "is a symbolic link to nowhere")
        elif header.type == DIRECTORY:
            self._folders.add(name)
        if (why := why_left_out(header, name)) is not None:
            self.leave_out(name, why)
        elif header.type == HARD_LINK and plain(header.link) in self.left_out:
            self.leave_out(name, f"a hard link to '{printable(plain(header.link))}'")
        self.entries += 1
        self.files_bytes += header.size_bytes
        return name

    def leave_out(self, name: str, why: str) -> None:
        """Count an entry, and hard links to it that follow, among those that are not unpacked."""
        self.left_out.add(name)
        self.losses.append(Loss(printable(name), why))

    @property
    def summary(self) -> ArchiveSummary:
        """What was seen until now."""
        return ArchiveSummary(self.entries, self.files_bytes, tuple(self.losses))

    def _check_place(self, name: str, header: TarHeader) -> None:
        known = name in self._links or name in self.left_out
        if known or (name in self._folders and header.type != DIRECTORY):
            raise _refused(header, "comes twice, and as something else")
        self._check_folder(name.rpartition("/")[0], header)

    def _check_hard_link(self, header: TarHeader) -> None:
        _check_name(header.link, header, "is a hard link that leads out of the volume")
        target = plain(header.link)
        if target in self._folders:
            raise _refused(header, "is a hard link to a folder")
        self._check_folder(target.rpartition("/")[0], header)

    def _check_folder(self, folder: str, header: TarHeader) -> None:
        if folder in self._folders:
            return
        parts = folder.split("/")
        if any("/".join(parts[: end + 1]) in self._links for end in range(len(parts))):
            raise _refused(header, "leads through a symbolic link")
        raise _refused(header, "is in a folder that the archive does not have")


def plain(name: str) -> str:
    """Return a name without the dots and slashes that mean nothing; "" is the root."""
    return "/".join([part for part in name.split("/") if part not in ("", ".")])


def check_archive(pieces: Iterable[bytes]) -> ArchiveSummary:
    """Read a tar to its end and return what it unpacks to; raises BackupInvalid."""
    check = EntryCheck()
    for header in TarStream(pieces):
        check.look(header)
    return check.summary


def _check_kind(header: TarHeader) -> None:
    if header.extended and any(key.startswith("GNU.sparse") for key in header.extended):
        raise _refused(header, "is a sparse file, which no backup of owctl's has")
    if header.type not in _KINDS:
        kind = _REFUSED.get(header.type, f"of the unknown kind {header.type!r}")
        raise _refused(header, f"is {kind}, which no backup of owctl's has")


def _check_name(name: str, header: TarHeader, complaint: str) -> None:
    if name.startswith("/") or ".." in name.split("/"):
        raise _refused(header, complaint)
    encoded = _bytes(name)
    # Nothing in a short name is too long.
    if len(encoded) > _MOST_PART_BYTES and (
        len(encoded) > _MOST_NAME_BYTES
        or any(len(part) > _MOST_PART_BYTES for part in encoded.split(b"/"))
    ):
        raise _refused(header, "has a name that is too long for any disk")


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _refused(header: TarHeader, complaint: str) -> BackupInvalid:
    return BackupInvalid(f"the archive's entry '{printable(header.name)}' {complaint}.", hint=_HINT)
