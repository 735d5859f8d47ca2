"""Where the source is, and a consistent copy of it."""

import contextlib
import hashlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from owctl.backup.manifest import Member
from owctl.backup.member_file import MemberFile
from owctl.engine.archives import read_archive, stat_path
from owctl.errors import NotFound, OwctlError
from owctl.migrate.folder import DATABASE_NAME, SOURCE_NAME, read_document, write_document
from owctl.project.private_file import cannot, make_folder, restrict
from owctl.volumes.sqlite import fetch_database

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container


# -- The old backend: the container, volume or file that its data is in, and what its settings say.


DEFAULT_DATA_DIR = "/app/backend/data"
_DATABASE = "webui.db"
_SQLITE = "sqlite:///"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the old data can be read: a container (running or not) and paths in it."""

    kind: Literal["container", "volume"]
    name: str
    container_id: str
    database: str
    uploads: str
    vector_data: str
    image: str = ""
    running: bool = False
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)


def find_container(engine: "Engine", name: str) -> Place:
    """Return where a container of the old backend keeps its data; raises OwctlError."""
    from owctl.engine.containers import inspect_container

    container = inspect_container(engine, name)
    if container is None:
        raise NotFound(
            f"There is no container {name}.",
            hint="docker ps -a, then owctl migrate --from-container NAME",
        )
    root, database = _paths(container)
    place = _place("container", container.name, container.id, root, database)
    _refuse_missing(engine, place)
    return Place(
        place.kind,
        place.name,
        place.container_id,
        place.database,
        place.uploads,
        place.vector_data,
        image=container.image,
        running=container.is_running,
        settings=container.environment,
    )


@contextmanager
def open_volume(engine: "Engine", project: str, image_id: str, name: str) -> Iterator[Place]:
    """Yield where a volume of the old backend can be read, for the length of a block.

    ``image_id`` is any image that is there; nothing is run. Raises OwctlError.
    """
    from owctl.engine.volumes import inspect_volume
    from owctl.volumes.one_off import readable

    if inspect_volume(engine, name) is None:
        raise NotFound(f"There is no volume {name}.", hint="docker volume ls")
    mount = {"Type": "volume", "Source": name}
    with readable(engine, project, image_id, mount) as (container_id, root):
        place = _place("volume", name, container_id, root, f"{root}/{_DATABASE}")
        _refuse_missing(engine, place)
        yield place


def has_vector_data(engine: "Engine", place: Place) -> bool:
    """Whether there are embeddings, which the new backend has to make anew."""
    if stat_path(engine, place.container_id, place.vector_data) is None:
        return False
    with read_archive(engine, place.container_id, place.vector_data) as stream:
        # A folder alone is one header, and the two empty blocks of the end.
        return sum(len(piece) for piece in _first(stream, 16384)) > 10240


def _first(stream: Iterator[bytes], size: int) -> Iterator[bytes]:
    for piece in stream:
        yield piece
        size -= len(piece)
        if size <= 0:
            return


def _place(
    kind: Literal["container", "volume"], name: str, container_id: str, root: str, database: str
) -> Place:
    return Place(kind, name, container_id, database, f"{root}/uploads", f"{root}/vector_db")


def _paths(container: "Container") -> tuple[str, str]:
    """Return the data folder and the database's path; raises OwctlError where it is no SQLite."""
    environment = container.environment
    root = (environment.get("DATA_DIR") or DEFAULT_DATA_DIR).rstrip("/")
    working_dir = str((container.raw.get("Config") or {}).get("WorkingDir") or "/")
    root = str(PurePosixPath(working_dir, root))
    url = environment.get("DATABASE_URL") or ""
    if not url:
        return root, f"{root}/{_DATABASE}"
    if not url.startswith(_SQLITE):
        raise OwctlError(
            f"The container {container.name} keeps its data in another database "
            f"({url.partition(':')[0]}), not in SQLite.",
            hint="owctl migrate FILE, with the data converted to SQLite",
        )
    path = url.removeprefix(_SQLITE).partition("?")[0]
    return root, str(PurePosixPath(working_dir, path))


def _refuse_missing(engine: "Engine", place: Place) -> None:
    stat = stat_path(engine, place.container_id, place.database)
    if stat is None or stat.is_directory:
        raise OwctlError(
            f"The {place.kind} {place.name} has no database at {place.database}.",
            hint="the name of the old backend's container or volume, or the file: "
            "owctl migrate webui.db",
        )


# -- The copy that a migration works on: consistent, read-only on the source, kept in a folder.
# A container's or a volume's database is copied as the engine's archive streams: file and write-ahead
# log, checked to belong together. That needs no program in the container, writes nothing there (a
# client of SQLite's would, in the folder of the database), and works on one that is stopped.


MANIFEST_NAME = "capture.json"
_UPLOADS_NAME = f"{SOURCE_NAME}/uploads.tar.zst"
_READ_BYTES = 1 << 20
OnBytes = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Captured:
    """What was captured into ``folder``.

    ``uploads`` is the archive's member, ``uploads_dir`` a folder of this machine that is read in
    place; at most one of them. ``vector_data`` says that the source has embeddings.
    """

    folder: Path
    kind: str
    name: str
    captured_at: str
    database_sha256: str
    uploads: Member | None = None
    uploads_dir: Path | None = None
    vector_data: bool = False

    @property
    def database(self) -> Path:
        """The copied database."""
        return self.folder / SOURCE_NAME / DATABASE_NAME


def capture_place(
    engine: "Engine",
    place: Place,
    folder: Path,
    on_bytes: OnBytes = lambda _: None,
    *,
    uploads: bool = True,
) -> Captured:
    """Copy database and uploads of a container or volume; raises OwctlError."""
    target = _prepare(folder)
    try:
        done = fetch_database(engine, place.container_id, place.database, target)
    except OSError as error:
        raise cannot("write", target, error) from error
    if not done:
        raise OwctlError(
            f"{place.database} was written to all the while: no consistent copy could be had.",
            hint=f"docker stop {place.name}, then the same command again",
        )
    _work_log_in(target)
    member = _archive_uploads(engine, place, folder, on_bytes) if uploads else None
    return _record(
        Captured(
            folder,
            place.kind,
            place.name,
            _now(),
            _sha256(target),
            uploads=member,
            vector_data=has_vector_data(engine, place),
        )
    )


def capture_file(path: Path, uploads_dir: Path | None, folder: Path) -> Captured:
    """Copy a database file of this machine, its write-ahead log beside it; raises OwctlError."""
    from owctl.migrate.source.private_copy import copy_database

    target = _prepare(folder)
    copy_database(path, target)
    _work_log_in(target)
    uploads_dir = uploads_of(path, uploads_dir)
    return _record(
        Captured(
            folder,
            "file",
            str(path),
            _now(),
            _sha256(target),
            uploads_dir=uploads_dir,
            vector_data=has_vector_folder(path),
        )
    )


def uploads_of(path: Path, uploads_dir: Path | None) -> Path | None:
    """Return the folder of uploads of a database file: the named one, else the one beside it."""
    beside = path.parent / "uploads"
    return uploads_dir or (beside if beside.is_dir() else None)


def has_vector_folder(path: Path) -> bool:
    """Whether there are embeddings beside a database file."""
    folder = path.parent / "vector_db"
    return folder.is_dir() and any(folder.iterdir())


def read_captured(folder: Path) -> Captured | None:
    """Return what was captured into a folder, None if that was not finished."""
    document = read_document(folder / MANIFEST_NAME)
    if document is None:
        return None
    uploads, uploads_dir = document["uploads"], document["uploads_dir"]
    return Captured(
        folder,
        document["kind"],
        document["name"],
        document["captured_at"],
        document["database_sha256"],
        uploads=Member(**uploads) if uploads else None,
        uploads_dir=Path(uploads_dir) if uploads_dir else None,
        vector_data=document["vector_data"],
    )


def _record(captured: Captured) -> Captured:
    document: dict[str, Any] = {"schema": 1, **asdict(captured)}
    del document["folder"]
    document["uploads_dir"] = str(captured.uploads_dir) if captured.uploads_dir else None
    write_document(captured.folder / MANIFEST_NAME, document)
    return captured


def _prepare(folder: Path) -> Path:
    """Return where the database goes, the only one in an empty folder."""
    source = folder / SOURCE_NAME
    try:
        (folder / MANIFEST_NAME).unlink(missing_ok=True)
        if source.exists():
            shutil.rmtree(source)
        make_folder(source, 0o700)
    except OSError as error:
        raise cannot("write", source, error) from error
    return source / DATABASE_NAME


def _work_log_in(database: Path) -> None:
    """Make one file of a database and its log; a damaged one stays as it is, for the salvage."""
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(database)) as connection,
    ):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for path in database.parent.iterdir():
        restrict(path)


def _archive_uploads(
    engine: "Engine", place: Place, folder: Path, on_bytes: OnBytes
) -> Member | None:
    if stat_path(engine, place.container_id, place.uploads) is None:
        return None
    with (
        MemberFile(folder, _UPLOADS_NAME, on_bytes=on_bytes) as file,
        read_archive(engine, place.container_id, f"{place.uploads}/.") as stream,
    ):
        for data in stream:
            file.write(data)
        return file.finish().member("volume", path=place.uploads)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while data := file.read(_READ_BYTES):
                digest.update(data)
    except OSError as error:
        raise cannot("read", path, error) from error
    return digest.hexdigest()


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
