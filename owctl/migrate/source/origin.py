"""The old backend: the container, volume or file that its data is in, and what its settings say."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from owctl.engine.archives import read_archive, stat_path
from owctl.errors import NotFound, OwctlError

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container

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
