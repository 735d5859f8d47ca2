"""What data there is: the stack's containers, their volumes, who mounts them, and which service is what.

Volumes are found through the mounts of containers and through labels, never by guessing names.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from owctl.backup.manifest import PARTS, Part
from owctl.compose.model import Stack
from owctl.compose.services import choose_probe
from owctl.engine.connection import Engine
from owctl.engine.containers import Container, ContainerMount, list_containers
from owctl.engine.execution import run
from owctl.engine.volumes import inspect_volume, is_unnamed, list_volumes
from owctl.errors import TimedOut
from owctl.lifecycle.stop_plan import AT_WORK
from owctl.postgres.files import DEFAULT_FOLDER
from owctl.postgres.place import DatabasePlace, Elsewhere, find_place

VolumePart = Literal["files", "redis"]
_DU_SECONDS = 10


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
    container that keeps its data here. ``postgres`` is the service that keeps a PostgreSQL's data
    folder here which is not the application's, "" for none: it is worth something only while that
    stands still.
    """

    key: str
    name: str
    mount_points: tuple[MountPoint, ...] = ()
    redis: Container | None = None
    part: VolumePart = "files"
    postgres: str = ""

    def in_use(self, stopped: Collection[str] = ()) -> bool:
        """Return whether a container of the stack is at work on it, those of these ids left out."""
        return any(
            point.container.state in AT_WORK and point.container.id not in stopped
            for point in self.mount_points
        )


@dataclass(frozen=True, slots=True)
class Inventory:
    """The stack as the engine has it now.

    ``database_volumes`` are the engine's names of those that hold PostgreSQL's data folder, whether
    they exist or not. ``elsewhere`` is where the database is, if it is none of the stack's: then there
    is no ``database_service``. ``bind_mounts`` are (service, folder of the host) that is written to.
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
    elsewhere: Elsewhere | None = None

    def captured(self, parts: frozenset[Part]) -> frozenset[Part]:
        """Return these parts; without the database, where that is elsewhere and was not asked for."""
        left_out = self.elsewhere is not None and parts == set(PARTS)
        return parts - {"db"} if left_out else parts

    def database_containers(self) -> list[Container]:
        """Return the containers of the database's service, a running one first."""
        return [c for c in self.containers if c.service == self.database_service]

    def volumes_of(self, parts: Collection[str]) -> list[VolumeSource]:
        """Return the volumes that belong to some of these parts."""
        return [source for source in self.volumes if source.part in parts]


def take_inventory(engine: Engine, stack: Stack) -> Inventory:
    """Look at the engine; raises the engine's errors. Services of inactive profiles count."""
    stack = stack.with_inactive()
    containers = tuple(
        sorted(list_containers(engine, stack.project), key=lambda c: (not c.is_running, c.service))
    )
    place = find_place(stack, containers)
    database = place.name if isinstance(place, DatabasePlace) else None
    labels = _project_volumes(engine, stack)
    keys = {volume.name: volume.key for volume in stack.volumes.values()} | labels
    mounted: dict[str, list[MountPoint]] = {}
    for container in containers:
        for mount in container.mounts:
            if mount.type == "volume":
                point = MountPoint(container, mount.destination, _below(container, mount))
                mounted.setdefault(mount.name, []).append(point)
    names = [*mounted, *sorted(labels.keys() - mounted.keys())]
    clusters = _clusters(stack, mounted)
    excluded = {name for name, service in clusters.items() if service == database}
    redis = frozenset(n for n, each in stack.services.items() if choose_probe(each).type == "redis")
    of_redis = _mounted_by(stack, redis, mounted)
    sources: list[VolumeSource] = []
    for name in names:
        points = tuple(mounted.get(name, ()))
        if name not in excluded:
            key = _unique(_key(name, points, keys), [source.key for source in sources])
            part: VolumePart = "redis" if name in of_redis else "files"
            postgres = clusters.get(name, "")
            sources.append(VolumeSource(key, name, points, _redis(points, redis), part, postgres))
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
        elsewhere=place if isinstance(place, Elsewhere) else None,
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


def _clusters(stack: Stack, mounted: Mapping[str, list[MountPoint]]) -> dict[str, str]:
    """Return by name the volumes that hold a PostgreSQL's data folder, and the service whose it is."""
    servers = {n for n, each in stack.services.items() if choose_probe(each).type == "postgres"}
    found: dict[str, str] = {}
    for name in servers:
        service = stack.services[name]
        pgdata = service.environment.get("PGDATA") or DEFAULT_FOLDER
        for mount in service.mounts:
            volume = stack.volumes.get(mount.source or "")
            if volume is not None and _overlap(pgdata, mount.target):
                found[volume.name] = name
    for name, points in mounted.items():
        for point in points:
            # The images of PostgreSQL, whatever they are called, say where they keep it.
            pgdata = point.container.environment.get("PGDATA") or ""
            is_server = bool(pgdata) or point.container.service in servers
            if is_server and _overlap(pgdata or DEFAULT_FOLDER, point.destination):
                found[name] = point.container.service
    return found


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
    if is_unnamed(key) and points:
        # Its name says nothing and changes; where it is mounted stays.
        container = points[0].container
        number = f"-{container.number}" if container.number > 1 else ""
        key = f"{container.service}{number}{points[0].destination}"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", key).lstrip(".-") or "volume"


def _unique(key: str, taken: list[str]) -> str:
    number = 2
    while key in taken:
        key = f"{key.rstrip('0123456789').rstrip('-')}-{number}"
        number += 1
    return key
