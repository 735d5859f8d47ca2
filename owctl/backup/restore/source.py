"""Where a restore takes the data from: what any source offers, and a backup of ours as one."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from owctl.backup import catalogue
from owctl.backup.access import Access, file_access, folder_access
from owctl.backup.catalogue import Backup
from owctl.backup.encryption import SUFFIX, Identity, identity_needed
from owctl.backup.inventory import VolumePart
from owctl.backup.manifest import Manifest, Member
from owctl.backup.member_file import MemberContent
from owctl.backup.verify import known_losses, verify_member
from owctl.errors import BackupInvalid, OwctlError
from owctl.figures import readable
from owctl.postgres.dump_scan import read_head
from owctl.postgres.load import Form
from owctl.postgres.properties import DatabaseProperties, properties_of
from owctl.progress import Event, Receiver
from owctl.volumes.archive_edit import Content
from owctl.volumes.losses import Loss
from owctl.volumes.sparse import sparse_files

_ELSEWHERE = "elsewhere"


Opener = Callable[[], AbstractContextManager[Content]]


@dataclass(frozen=True, slots=True)
class DatabaseContent:
    """A dump. ``rows`` None: the source does not know them; so for what else may be None.

    ``roles`` are those that own or may use something in it, ``user`` is the one that dumped it.
    """

    form: Form
    open: Opener
    content_bytes: int
    rows: Mapping[str, int] | None = None
    server_version_number: int | None = None
    encoding: str | None = None
    collation: str | None = None
    user: str | None = None
    search_path: str | None = None

    def check_rows(self, found: Mapping[str, int]) -> None:
        """Raise BackupInvalid where a table does not have the rows that the source says."""
        for table, count in sorted((self.rows or {}).items()):
            if found.get(table) != count:
                raise BackupInvalid(
                    f"The table {table} has {found.get(table, 'no')} rows after loading, and had "
                    f"{count} when the backup was made.",
                    hint="owctl restore with another backup: owctl backup list",
                )

    def pieces(self) -> Generator[bytes, None, None]:
        """Yield the dump, and end well only if it was what was stored."""
        with self.open() as opened:
            yield from opened
            opened.finish()

    def properties(self) -> DatabaseProperties | None:
        """Return what the dump says of its database; None where it is SQL text, which says nothing."""
        if self.form == "plain":
            return None
        with closing(self.pieces()) as pieces:
            contents, _, _ = read_head(pieces)
        return properties_of(contents)


@dataclass(frozen=True, slots=True)
class VolumeContent:
    """A volume's archive, and the consistent copies of the SQLite databases in it.

    ``part`` None: the source does not say, and where it was mounted has to tell. ``losses`` are not
    brought back. Not ``alone``: what was mounted below it was archived, too. ``hole_bytes`` of its
    files need no room.
    """

    key: str
    open: Opener
    files_bytes: int
    mounted_at: tuple[tuple[str, str], ...] = ()
    sqlite: tuple[Opener, ...] = ()
    part: VolumePart | None = None
    losses: tuple[Loss, ...] = ()
    alone: bool = True
    hole_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ConfigContent:
    """A file of the configuration; ``path`` in the project's folder, None for one from elsewhere.

    ``access`` None: the source does not say who may read it. ``folders`` are those above it, by path.
    """

    name: str
    path: str | None
    read: Callable[[], bytes]
    access: Access | None = None
    folders: Mapping[str, Access] = field(default_factory=dict)


class Source(Protocol):
    """What a restore needs to know of a backup, of whatever kind. Times are ISO 8601 in UTC."""

    @property
    def id(self) -> str:
        """How the user calls it."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The folder or the files that it is."""

    @property
    def created_at(self) -> str:
        """When it was made."""

    @property
    def database(self) -> DatabaseContent | None:
        """The dump, if there is one."""

    @property
    def volumes(self) -> tuple[VolumeContent, ...]:
        """The archives of volumes."""

    @property
    def config(self) -> tuple[ConfigContent, ...]:
        """The files of the configuration."""

    def verify(self, receive: Receiver) -> None:
        """Read everything back, which may show more losses; raises BackupInvalid."""


_ANOTHER = "owctl backup list, for another one; nothing was touched"


class BackupSource:
    """A backup of ours. Raises BackupInvalid where its manifest cannot be read.

    ``record``: whether to write down in its folder how verifying it went. ``identities`` decrypt an
    encrypted one; without any, UsageError is raised.
    """

    def __init__(
        self, backup: Backup, *, record: bool = True, identities: Sequence[Identity] = ()
    ) -> None:
        self.backup = backup
        self.record = record
        self.manifest: Manifest = backup.read_manifest()
        self.identities = tuple(identities)
        self._seen: dict[str, tuple[Loss, ...]] = {}
        if self.manifest.encryption is not None and not identities:
            raise identity_needed(backup.id)

    @property
    def id(self) -> str:
        """The backup's id."""
        return self.backup.id

    @property
    def paths(self) -> tuple[Path, ...]:
        """The backup's folder."""
        return (self.backup.path,)

    @property
    def created_at(self) -> str:
        """When the backup was begun."""
        return self.manifest.created_at

    @property
    def database(self) -> DatabaseContent | None:
        """The dump with what the manifest says of it."""
        members = self._members("database")
        if not members:
            return None
        if len(members) > 1:
            raise BackupInvalid("The backup has two databases, which this owctl does not know.")
        detail = members[0].detail
        return DatabaseContent(
            form="custom",
            open=self._opener(members[0]),
            content_bytes=members[0].content_size_bytes,
            rows=detail.get("rows"),
            server_version_number=detail.get("server_version_number"),
            encoding=detail.get("encoding"),
            collation=detail.get("collation"),
            user=detail.get("user"),
            search_path=detail.get("search_path"),
        )

    @property
    def volumes(self) -> tuple[VolumeContent, ...]:
        """The volumes, each with its SQLite copies."""
        return tuple(
            VolumeContent(
                key=member.detail["volume"],
                open=self._opener(member),
                files_bytes=int(member.detail.get("files_bytes", member.content_size_bytes)),
                mounted_at=tuple(
                    (place["service"], place["path"])
                    for place in member.detail.get("mounted_at", ())
                ),
                sqlite=tuple(
                    self._opener(copy)
                    for copy in self._members("sqlite")
                    if copy.detail["volume"] == member.detail["volume"]
                ),
                part=member.detail.get("part"),
                losses=self._seen.get(member.name) or known_losses(member),
                hole_bytes=sum(sparse_files(member.detail).values()),
                alone=bool(member.detail.get("alone", False)),
            )
            for member in self._members("volume")
        )

    @property
    def config(self) -> tuple[ConfigContent, ...]:
        """The files below ``config/``."""
        return tuple(
            ConfigContent(
                member.name,
                path := _project_path(member),
                self._reader(member),
                file_access(path or member.name, member.detail),
                folder_access(member.detail),
            )
            for member in self._members("configuration")
        )

    def verify(self, receive: Receiver) -> None:
        """Read every member back, and write down how that went where the folder may be written."""
        try:
            for member in self.manifest.members:
                size = readable(member.content_size_bytes)
                receive(Event(member.name, "working", f"verifying {size}"))
                self._seen[member.name] = verify_member(
                    self.backup.path, member, identities=self.identities
                )
                receive(Event(member.name, "done", f"sound, {size}"))
        except BackupInvalid as error:
            self._record(catalogue.now("failed", problem=error.message))
            # Who restores has no use for a backup of what is there now.
            raise BackupInvalid(error.message, hint=_ANOTHER, details=error.details) from error
        before = self.backup.verification
        drilled = before is not None and before.status == "ok" and before.drill
        self._record(catalogue.now("ok", drill=drilled))

    def _record(self, found: catalogue.Verification) -> None:
        if not self.record:
            return
        # A backup on a disk that is read-only can be restored all the same.
        with suppress(OwctlError):
            catalogue.write_record(self.backup.path, found)

    def _members(self, kind: str) -> list[Member]:
        return [member for member in self.manifest.members if member.kind == kind]

    def _opener(self, member: Member) -> Opener:
        return lambda: MemberContent(self.backup.path, member, identities=self.identities)

    def _reader(self, member: Member) -> Callable[[], bytes]:
        def read() -> bytes:
            with MemberContent(self.backup.path, member, identities=self.identities) as content:
                data = b"".join(content)
                content.finish()
            return data

        return read


def _project_path(member: Member) -> str | None:
    path = PurePosixPath(*PurePosixPath(member.name.removesuffix(SUFFIX)).parts[1:])
    return None if path.parts[:1] == (_ELSEWHERE,) else str(path)
