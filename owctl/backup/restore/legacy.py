"""What a user names to restore from; files of docker-manage.sh as a source of their own."""

import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from owctl.backup.catalogue import find_backup, look_at
from owctl.backup.encryption import Identity
from owctl.backup.manifest import Kind, Member
from owctl.backup.restore.source import (
    BackupSource,
    ConfigContent,
    DatabaseContent,
    Source,
    VolumeContent,
)
from owctl.errors import BackupInvalid, UsageError
from owctl.figures import readable
from owctl.postgres.sql_scan import SqlScanner
from owctl.progress import Event, Receiver
from owctl.volumes.archive_check import ArchiveSummary, check_archive

# -- Files of docker-manage.sh as a source: a dump in SQL text, an archive of uploads, or both.
# They have no manifest, so everything that is known of them is found by reading them once: that they
# are whole, what is in them, and their SHA-256, by which a second reading is known to be the same.


SQL_SUFFIX = ".sql"
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz")
# What the script archives: the volume by this key, which the backend mounts here.
VOLUME_KEY = "rust_backend_data"
_MOUNTED_AT = (("rust-backend", "/app/data"),)
_READ_BYTES = 1024 * 1024
_TIME = re.compile(r"_(\d{8}_\d{6})\.")


@dataclass(frozen=True, slots=True)
class _Known:
    """What reading a file has shown."""

    member: Member
    rows: dict[str, int] | None = None
    server_version_number: int | None = None
    archive: ArchiveSummary | None = None


class LegacyContent:
    """The content of a file, decompressed; a context manager. Raises BackupInvalid."""

    def __init__(self, path: Path, member: Member) -> None:
        self.member = member
        self._digest = hashlib.sha256()
        self._length = 0
        self._path = path
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise BackupInvalid(f"{path} cannot be read: {error.strerror or error}.") from error
        self._pieces = self._stored() if is_sql(path) else _gunzipped(self._stored())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[bytes]:
        for data in self._pieces:
            self._length += len(data)
            yield data

    def finish(self) -> None:
        """Raise BackupInvalid unless it was what was read at first."""
        for _ in self:
            pass
        if self.seen() != self.member:
            raise BackupInvalid(f"{self._path} was changed while it was restored.")

    def seen(self) -> Member:
        """Return the member as it was read now."""
        stored = self._file.tell()
        return replace(
            self.member,
            size_bytes=stored,
            sha256=self._digest.hexdigest(),
            content_size_bytes=self._length,
        )

    def _stored(self) -> Iterator[bytes]:
        while True:
            try:
                data = self._file.read(_READ_BYTES)
            except OSError as error:
                raise BackupInvalid(f"{self._path} cannot be read: {error.strerror}.") from error
            if not data:
                return
            self._digest.update(data)
            yield data


class LegacySource:
    """One or two files of docker-manage.sh. Raises UsageError for others."""

    def __init__(self, paths: Sequence[Path]) -> None:
        sql = [path for path in paths if is_sql(path)]
        archives = [path for path in paths if is_archive(path)]
        if len(sql) + len(archives) != len(paths) or len(sql) > 1 or len(archives) > 1:
            raise UsageError(
                f"{', '.join(path.name for path in paths)}: a restore takes one dump (.sql) and "
                "one archive of uploads (.tar.gz), or one of the two.",
                hint="owctl restore db_backup_….sql uploads_backup_….tar.gz",
            )
        for path in paths:
            if not path.is_file():
                raise UsageError(f"There is no file {path}.", hint="ls backups")
        self._sql = sql[0] if sql else None
        self._archive = archives[0] if archives else None
        self._known: dict[Path, _Known] = {}

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, the dump first."""
        return tuple(path for path in (self._sql, self._archive) if path is not None)

    @property
    def id(self) -> str:
        """The names of the files."""
        return " ".join(path.name for path in self.paths)

    @property
    def created_at(self) -> str:
        """The time in the older file's name, else that of its last change."""
        return min(_time_of(path) for path in self.paths)

    @property
    def database(self) -> DatabaseContent | None:
        """The dump; its rows are known once it was verified."""
        if self._sql is None:
            return None
        path = self._sql
        known = self._known.get(path) or _Known(_unread(path))
        return DatabaseContent(
            form="plain",
            open=lambda: LegacyContent(path, known.member),
            content_bytes=path.stat().st_size,
            rows=known.rows,
            server_version_number=known.server_version_number,
        )

    @property
    def volumes(self) -> tuple[VolumeContent, ...]:
        """The uploads; their size is known once they were verified."""
        if self._archive is None:
            return ()
        path = self._archive
        known = self._known.get(path) or _Known(_unread(path))
        found = known.archive or ArchiveSummary(0, 0)
        content = VolumeContent(
            VOLUME_KEY,
            lambda: LegacyContent(path, known.member),
            found.files_bytes,
            _MOUNTED_AT,
            part="files",
            losses=found.losses,
        )
        return (content,)

    @property
    def config(self) -> tuple[ConfigContent, ...]:
        """None: the script saved no configuration."""
        return ()

    def verify(self, receive: Receiver) -> None:
        """Read both to their ends; raises BackupInvalid."""
        for path in self.paths:
            size = readable(path.stat().st_size)
            receive(Event(path.name, "working", f"reading {size}"))
            try:
                self._known[path] = _read_dump(path) if path == self._sql else _read_archive(path)
            except BackupInvalid as error:
                named = error.message.startswith(str(path))
                raise BackupInvalid(
                    error.message if named else f"{path.name}: {error.message}",
                    hint=error.hint or "another backup",
                ) from error
            receive(Event(path.name, "done", f"sound, {size}"))


def is_legacy(path: Path) -> bool:
    """Whether a path is named as docker-manage.sh's files are."""
    return is_sql(path) or is_archive(path)


def is_sql(path: Path) -> bool:
    """Whether a path is named as a dump in SQL text."""
    return path.name.endswith(SQL_SUFFIX)


def is_archive(path: Path) -> bool:
    """Whether a path is named as an archive of uploads."""
    return path.name.endswith(ARCHIVE_SUFFIXES)


def _read_dump(path: Path) -> _Known:
    scanner = SqlScanner()
    with LegacyContent(path, _unread(path)) as content:
        for data in content:
            scanner.feed(data)
        seen = content.seen()
    if not seen.size_bytes:
        raise BackupInvalid("it is empty: pg_dump failed when it was made.")
    rows = scanner.finish()
    return _Known(seen, rows, scanner.server_version_number)


def _read_archive(path: Path) -> _Known:
    with LegacyContent(path, _unread(path)) as content:
        found = check_archive(content)
        seen = content.seen()
    if found.entries <= 1 and not found.files_bytes:
        raise BackupInvalid(
            "it holds no files. docker-manage.sh archived a new, empty volume where the stack's own "
            "had another name, and reported success.",
            hint="the dump alone; or an archive that was made from the right volume",
        )
    return _Known(seen, archive=found)


def _gunzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    reader = zlib.decompressobj(wbits=31)
    try:
        for piece in pieces:
            data = piece
            while data and not reader.eof:
                yield reader.decompress(data, _READ_BYTES)
                data = reader.unconsumed_tail
            if reader.unused_data.strip(b"\0"):
                raise BackupInvalid("it has data behind the end of its compressed content.")
        yield reader.flush()
    except zlib.error as error:
        raise BackupInvalid(f"the compressed content is damaged ({error}).") from error
    if not reader.eof:
        raise BackupInvalid("it is cut off: the compressed content has no end.")


def _unread(path: Path) -> Member:
    kind: Kind = "database" if is_sql(path) else "volume"
    return Member(path.name, kind, 0, "", 0)


def _time_of(path: Path) -> str:
    found = _TIME.search(path.name)
    try:
        # The script took the time of the machine's own zone.
        local = datetime.strptime(found[1], "%Y%m%d_%H%M%S") if found else None  # noqa: DTZ007
    except ValueError:
        local = None
    time = local.astimezone(UTC) if local else datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


# -- What a user names to restore from: a backup of ours, or files of docker-manage.sh.


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user named, and the keys to read it with.

    ``references`` are an id, its beginning, ``latest``, a path, or files of the script; paths are
    seen from ``working_dir``.
    """

    references: tuple[str, ...]
    working_dir: Path
    identities: tuple[Identity, ...] = ()

    def find(self, parent: Path, project: str | None, *, record: bool = True) -> Source:
        """Return it; ``parent`` is the folder of the backups. Raises as ``open_source``.

        ``latest`` is the newest of ``project``, as several may share the folder; None: of any.
        """
        paths = [(self.working_dir / reference).resolve() for reference in self.references]
        if len(paths) == 1 and not is_legacy(paths[0]):
            paths = [self._find_backup(parent, project)]
        return open_source(paths, record=record, identities=self.identities)

    def _find_backup(self, parent: Path, project: str | None) -> Path:
        return find_backup(parent, self.references[0], self.working_dir, project).path


def open_source(
    paths: Sequence[Path], *, record: bool = True, identities: Sequence[Identity] = ()
) -> Source:
    """Return what stands at the paths. Raises UsageError, and BackupInvalid for a bad manifest.

    ``record``: whether to write down beside a backup how verifying it went.
    """
    if any(is_legacy(path) and not path.is_dir() for path in paths):
        return LegacySource(paths)
    if len(paths) != 1:
        raise UsageError(
            f"A restore takes one backup, and got {len(paths)}.", hint="owctl backup list"
        )
    return BackupSource(look_at(paths[0]), record=record, identities=identities)
