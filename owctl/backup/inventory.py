"""What data there is: the stack's containers, their volumes, who mounts them, and which service is what.

Volumes are found through the mounts of containers and through labels, never by guessing names.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from owctl.compose.model import Stack
from owctl.compose.services import choose_probe
from owctl.engine.connection import Engine
from owctl.engine.containers import Container, ContainerMount, list_containers
from owctl.engine.execution import run
from owctl.engine.volumes import inspect_volume, list_volumes
from owctl.errors import TimedOut
from owctl.postgres.files import DEFAULT_FOLDER
from owctl.postgres.place import database_of

VolumePart = Literal["files", "redis"]
_DU_SECONDS = 10
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class MountPoint:
    """Where a container sees a volume, and below it something else, by paths in the volume."""

    container: Container
    destination: str
    below: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VolumeSource:
    """A volume to archive: ``key`` names it in the backup, ``name`` on the engine.

    ``mount_points`` has a running container first; it is empty for a volume without a container.
    ``part`` is ``redis`` for one that a Redis service mounts; ``redis`` is the running Redis
    container that keeps its data here.
    """

    key: str
    name: str
    mount_points: tuple[MountPoint, ...] = ()
    redis: Container | None = None
    part: VolumePart = "files"


@dataclass(frozen=True, slots=True)
class Inventory:
    """The stack as the engine has it now.

    ``database_volumes`` are the engine's names of those that hold PostgreSQL's data folder, whether
    they exist or not. ``bind_mounts`` are (service, folder of the host) that is written to.
    ``helper_image_id`` is an image from which a container can be made that shows a volume.
    """

    containers: tuple[Container, ...]
    database_service: str | None
    volumes: tuple[VolumeSource, ...]
    bind_mounts: tuple[tuple[str, str], ...] = ()
    overlays: tuple[tuple[str, str], ...] = ()
    database_volumes: frozenset[str] = frozenset()
    redis_services: frozenset[str] = frozenset()
    helper_image_id: str | None = None

    def database_containers(self) -> list[Container]:
        """Return the containers of the database's service, a running one first."""
        return [c for c in self.containers if c.service == self.database_service]

    def volumes_of(self, parts: Collection[str]) -> list[VolumeSource]:
        """Return the volumes that belong to some of these parts."""
        return [source for source in self.volumes if source.part in parts]


def take_inventory(engine: Engine, stack: Stack) -> Inventory:
    """Look at the engine; raises the engine's errors."""
    containers = tuple(
        sorted(list_containers(engine, stack.project), key=lambda c: (not c.is_running, c.service))
    )
    place = database_of(stack)
    database = place.name if place is not None else None
    labels = _project_volumes(engine, stack)
    keys = {volume.name: volume.key for volume in stack.volumes.values()} | labels
    mounted: dict[str, list[MountPoint]] = {}
    for container in containers:
        for mount in container.mounts:
            if mount.type == "volume":
                point = MountPoint(container, mount.destination, _below(container, mount))
                mounted.setdefault(mount.name, []).append(point)
    names = [*mounted, *sorted(labels.keys() - mounted.keys())]
    excluded = _database_volumes(stack, database, mounted)
    redis = frozenset(n for n, each in stack.services.items() if choose_probe(each).type == "redis")
    of_redis = _mounted_by(stack, redis, mounted)
    sources: list[VolumeSource] = []
    for name in names:
        points = tuple(mounted.get(name, ()))
        if name not in excluded:
            key = _unique(_key(name, points, keys), [source.key for source in sources])
            part: VolumePart = "redis" if name in of_redis else "files"
            sources.append(VolumeSource(key, name, points, _redis(points, redis), part))
    binds = {
        (container.service, mount.source)
        for container in containers
        for mount in container.mounts
        if mount.type == "bind" and mount.read_write and mount.source != "/var/run/docker.sock"
    }
    overlays = {
        (container.service, mount.source)
        for container in containers
        for mount in container.mounts
        if mount.type == "bind" and not mount.read_write and _is_below_volume(container, mount)
    }
    return Inventory(
        containers,
        database,
        tuple(sources),
        tuple(sorted(binds)),
        tuple(sorted(overlays)),
        database_volumes=frozenset(excluded),
        redis_services=redis,
        helper_image_id=containers[0].image_id if containers else _any_image(engine, stack),
    )


def volume_bytes(engine: Engine, source: VolumeSource, folder: str = "") -> int:
    """Return how much a volume's files take (or those of a folder in it), 0 where that is not cheap.

    ``du`` in the container that mounts it reads names and sizes only.
    """
    # With something mounted below, more would be counted than the volume's own.
    running = [p for p in source.mount_points if p.container.is_running and not p.below]
    if not running:
        return 0
    try:
        answer = run(
            engine,
            running[0].container.id,
            ["du", "-sk", f"{running[0].destination}/{folder}"],
            user="0",
            timeout_seconds=_DU_SECONDS,
        )
    except TimedOut:
        return 0
    size = answer.stdout.split(b"\t")[0].strip()
    return int(size) * 1024 if size.isdigit() else 0


def _any_image(engine: Engine, stack: Stack) -> str | None:
    from owctl.engine.images import image_id

    found = (image_id(engine, each.image_name(stack.project)) for each in stack.services.values())
    return next((image for image in found if image is not None), None)


def _project_volumes(engine: Engine, stack: Stack) -> dict[str, str]:
    """Return the project's volumes on the engine, key by name, mounted or not."""
    found = {
        volume.name: volume.key or volume.name for volume in list_volumes(engine, stack.project)
    }
    for volume in stack.volumes.values():
        # One that is external, or was made by hand, carries no label.
        if volume.name not in found and inspect_volume(engine, volume.name) is not None:
            found[volume.name] = volume.key
    return found


def _database_volumes(
    stack: Stack, database: str | None, mounted: Mapping[str, list[MountPoint]]
) -> set[str]:
    """Return the volumes that hold PostgreSQL's data folder, which the dump stands for."""
    excluded = set()
    for name, points in mounted.items():
        for point in points:
            pgdata = point.container.environment.get("PGDATA") or DEFAULT_FOLDER
            if point.container.service == database and _overlap(pgdata, point.destination):
                excluded.add(name)
    if database is not None:
        service = stack.services[database]
        pgdata = service.environment.get("PGDATA") or DEFAULT_FOLDER
        for mount in service.mounts:
            volume = stack.volumes.get(mount.source or "")
            if volume is not None and _overlap(pgdata, mount.target):
                excluded.add(volume.name)
    return excluded


def _below(container: Container, volume: ContainerMount) -> tuple[str, ...]:
    """Return what is mounted below a volume, from its root."""
    root = volume.destination.rstrip("/") + "/"
    return tuple(
        sorted(
            mount.destination[len(root) :].strip("/")
            for mount in container.mounts
            if mount.destination.startswith(root) and mount.destination != root
        )
    )


def _is_below_volume(container: Container, mount: ContainerMount) -> bool:
    volumes = (each for each in container.mounts if each.type == "volume")
    return any(mount.destination.startswith(each.destination.rstrip("/") + "/") for each in volumes)


def _overlap(pgdata: str, destination: str) -> bool:
    """Return whether one path contains the other."""
    data, mount = PurePosixPath(pgdata), PurePosixPath(destination)
    return data.is_relative_to(mount) or mount.is_relative_to(data)


def _mounted_by(
    stack: Stack, services: Collection[str], mounted: Mapping[str, list[MountPoint]]
) -> set[str]:
    """Return the names of the volumes that services mount: by their containers, or by the files."""
    found = {
        name
        for name, points in mounted.items()
        if any(point.container.service in services for point in points)
    }
    for service in services:
        keys = {mount.source for mount in stack.services[service].mounts}
        found |= {volume.name for key, volume in stack.volumes.items() if key in keys}
    return found


def _redis(points: tuple[MountPoint, ...], redis: Collection[str]) -> Container | None:
    containers = (point.container for point in points if point.container.is_running)
    return next((each for each in containers if each.service in redis), None)


def _key(name: str, points: tuple[MountPoint, ...], keys: Mapping[str, str]) -> str:
    key = keys.get(name, name)
    if _ANONYMOUS.fullmatch(key) and points:
        # Its name says nothing and changes; where it is mounted stays.
        key = points[0].container.service + points[0].destination
    return re.sub(r"[^A-Za-z0-9._-]+", "-", key).lstrip(".-") or "volume"


def _unique(key: str, taken: list[str]) -> str:
    number = 2
    while key in taken:
        key = f"{key.rstrip('0123456789').rstrip('-')}-{number}"
        number += 1
    return key
