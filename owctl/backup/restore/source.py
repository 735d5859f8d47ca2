"""Where a restore takes the data from: what any source offers, and a backup of ours as one."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
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
from owctl.backup.verify import verify_member
from owctl.errors import BackupInvalid, OwctlError
from owctl.figures import readable
from owctl.postgres.load import Form
from owctl.progress import Event, Receiver
from owctl.volumes.archive_edit import Content

_ELSEWHERE = "elsewhere"


Opener = Callable[[], AbstractContextManager[Content]]


@dataclass(frozen=True, slots=True)
class DatabaseContent:
    """A dump. ``rows`` None: the source does not know them; so for what else may be None."""

    form: Form
    open: Opener
    content_bytes: int
    rows: Mapping[str, int] | None = None
    server_version_number: int | None = None
    encoding: str | None = None
    collation: str | None = None


@dataclass(frozen=True, slots=True)
class VolumeContent:
    """A volume's archive, and the consistent copies of the SQLite databases in it.

    ``part`` None: the source does not say, and where it was mounted has to tell.
    """

    key: str
    open: Opener
    files_bytes: int
    mounted_at: tuple[tuple[str, str], ...] = ()
    sqlite: tuple[Opener, ...] = ()
    part: VolumePart | None = None


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
        """Read everything back; raises BackupInvalid."""


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
                verify_member(self.backup.path, member, identities=self.identities)
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
