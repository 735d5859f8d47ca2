"""What a restore would do: which parts of which source go where, whether there is room, what is in the way."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from owctl.backup.inventory import VolumeSource, take_inventory
from owctl.backup.manifest import PARTS, Part
from owctl.backup.restore.configuration import differing_files, session_key_differs
from owctl.backup.restore.journal import Journal
from owctl.backup.restore.source import ConfigContent, DatabaseContent, Source, VolumeContent
from owctl.changeover.journal import refuse_second
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import Usage
from owctl.errors import OwctlError, UsageError
from owctl.figures import readable
from owctl.lifecycle.services import Services
from owctl.postgres.psql import MAINTENANCE_DATABASE, Server
from owctl.progress import Receiver, ignore
from owctl.project.ownership import check_owner
from owctl.volumes.losses import told
from owctl.volumes.space import Disk, disk_of

_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Need:
    """What takes how much room, and where."""

    what: str
    needed_bytes: int
    disk: Disk


def database_need(server: Server, content_bytes: int) -> Need | None:
    """Return what a new database needs, None where the server's disk cannot be asked."""
    folder = server.ask("SHOW data_directory;", database=MAINTENANCE_DATABASE)[0][0]
    disk = disk_of(server.engine, server.container, folder)
    return None if disk is None else Need("the database", content_bytes, disk)


def volume_need(engine: Engine, source: VolumeSource, content: VolumeContent) -> Need | None:
    """Return what a volume's files need, None where no running container can be asked."""
    for point in source.mount_points:
        if point.container.is_running:
            disk = disk_of(engine, point.container, point.destination)
            needed_bytes = content.files_bytes - content.hole_bytes
            return None if disk is None else Need(content.key, needed_bytes, disk)
    return None


def check_room(needs: list[Need]) -> None:
    """Raise OwctlError if what is needed on a disk is more than is free there."""
    disks = {need.disk.identity: need.disk for need in needs}
    for identity, disk in disks.items():
        there = [need for need in needs if need.disk.identity == identity]
        needed = sum(need.needed_bytes for need in there)
        if needed > disk.free_bytes:
            parts = ", ".join(f"{need.what} {readable(need.needed_bytes)}" for need in there)
            raise OwctlError(
                f"There is not enough room to restore: {readable(needed)} are needed beside what "
                f"is there ({parts}), and {readable(disk.free_bytes)} are free.",
                hint="make room on the disk of the engine's volumes, or restore one part at a "
                "time: --only db, owctl restore finish, --only files",
            )


DEFAULT_PARTS: frozenset[Part] = frozenset({"db", "files", "redis"})
READY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What to restore. ``parts`` None: what the source has of database, files and Redis.

    ``start`` False leaves the services stopped afterwards. ``timeout_seconds`` is for each service
    until it answers.
    """

    parts: frozenset[Part] | None = None
    safety_backup: bool = True
    start: bool = True
    timeout_seconds: float = READY_SECONDS


@dataclass(frozen=True, slots=True)
class VolumeTarget:
    """A volume's archive, and the volume of this stack that it replaces.

    What the archive has below the paths ``hidden`` is not the volume's.
    """

    content: VolumeContent
    volume: VolumeSource
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What is replaced by what. ``running`` are the services that run now, ``stops`` those of them
    that are stopped for the swap. ``needs`` is the room that is known to be needed."""

    source: Source
    parts: tuple[Part, ...]
    database: DatabaseContent | None
    volumes: tuple[VolumeTarget, ...]
    config: tuple[ConfigContent, ...]
    running: tuple[str, ...]
    stops: tuple[str, ...]
    needs: tuple[Need, ...]
    warnings: tuple[str, ...]


def plan_restore(
    engine: Engine,
    stack: Stack,
    source: Source,
    request: RestoreRequest,
    receive: Receiver = ignore,
    *,
    verified: bool = False,
) -> RestorePlan:
    """Verify the source, look at the stack, and return what would be done; changes nothing.

    ``verified``: it was, a moment ago.
    Raises BackupInvalid for a damaged source, UsageError for a part that it lacks, OwctlError for
    what makes the restore impossible.
    """
    refuse_second(Journal.read(stack.working_dir))
    check_owner(engine, stack.project, stack.working_dir, adopt=False)
    services = Services(engine, stack, receive, request.timeout_seconds)
    redis = frozenset(services.of_kind("redis"))
    parts = _parts(source, request.parts, redis)
    if not verified:
        source.verify(receive)
    targets, missing = _targets(engine, stack, source, parts, redis)
    running = services.running()
    volumes = [target.volume.name for target in targets]
    others = services.others_at_work(volumes)
    refuse_foreign(stack, others)
    keep = services.undisturbed(parts, volumes)
    database = source.database if "db" in parts else None
    if database is not None:
        services.require_place()
    plan = RestorePlan(
        source=source,
        parts=parts,
        database=database,
        volumes=targets,
        config=source.config if "config" in parts else (),
        running=running,
        stops=(*(name for name in running if name not in keep), *(each.name for each in others)),
        needs=tuple(_volume_needs(engine, targets)),
        warnings=(*missing, *_config_warnings(stack, source, parts)),
    )
    server = services.server_if_running() if database is not None else None
    return plan if server is None else with_server(plan, server)


def refuse_foreign(stack: Stack, at_work: Collection[Usage]) -> None:
    """Raise OwctlError where a container of somebody else's is at work on what is to be swapped."""
    foreign = [each for each in at_work if each.project != stack.project]
    if not foreign:
        return
    names = [f"{each.name} (project {each.project or 'none'})" for each in foreign]
    raise OwctlError(
        "A volume that would be replaced is in use by containers that are none of "
        f"{stack.project}'s: {', '.join(names)}.",
        hint=f"docker stop {' '.join(each.name for each in foreign)}, then this command again",
    )


def with_server(plan: RestorePlan, server: Server) -> RestorePlan:
    """Return the plan after a look at the running PostgreSQL; raises OwctlError if it will not do."""
    database = plan.database
    if database is None:
        return plan
    _check_version(server, database)
    need = database_need(server, database.content_bytes)
    others = tuple(each for each in plan.needs if each.what != "the database")
    needs = others if need is None else (need, *others)
    check_room(list(needs))
    return replace(plan, needs=needs)


def _parts(
    source: Source, asked: frozenset[Part] | None, redis: Collection[str]
) -> tuple[Part, ...]:
    there: set[Part] = {"config"} if source.config else set()
    if source.database is not None:
        there.add("db")
    for volume in source.volumes:
        there.add("redis" if _is_redis(volume, redis) else "files")
    wanted = asked if asked is not None else DEFAULT_PARTS & there
    lacking = [part for part in PARTS if part in wanted - there]
    if lacking or not wanted:
        has = ", ".join(part for part in PARTS if part in there) or "nothing"
        raise UsageError(
            f"The backup {source.id} lacks {', '.join(lacking) or 'database, files and Redis'}; "
            f"it has {has}.",
            hint=f"owctl restore {source.id} --only {has.replace(', ', ',')}",
        )
    return tuple(part for part in PARTS if part in wanted)


def _is_redis(volume: VolumeContent, redis: Collection[str]) -> bool:
    if volume.part is not None:
        return volume.part == "redis"
    return any(service in redis for service, _ in volume.mounted_at)


def _targets(
    engine: Engine,
    stack: Stack,
    source: Source,
    parts: Collection[Part],
    redis: Collection[str],
) -> tuple[tuple[VolumeTarget, ...], list[str]]:
    """Return archives with the volumes they go into, and a warning for each that has none."""
    found: list[VolumeTarget] = []
    warnings: list[str] = []
    volumes = take_inventory(engine, stack).volumes
    for content in source.volumes:
        if ("redis" if _is_redis(content, redis) else "files") not in parts:
            continue
        volume = _volume_for(content, volumes, others={each.key for each in source.volumes})
        if volume is None:
            warnings.append(
                f"The backup's volume {content.key} is not restored: this stack has no such "
                "volume on the engine (owctl start makes what the compose files name)."
            )
        else:
            hidden = () if content.alone else _hidden(content, volume, source.volumes)
            found.append(VolumeTarget(content, volume, hidden))
            warnings += _differences(found[-1])
    return tuple(found), warnings


def _hidden(
    content: VolumeContent, volume: VolumeSource, others: Collection[VolumeContent]
) -> tuple[str, ...]:
    """Return where something is, or was, mounted below a volume that was not archived alone."""
    found = {path for point in volume.mount_points for path in point.below}
    for service, root in content.mounted_at:
        found |= {
            path[len(root.rstrip("/")) + 1 :]
            for other in others
            for mounting, path in other.mounted_at
            if mounting == service and path.startswith(root.rstrip("/") + "/")
        }
    return tuple(sorted(found))


def _differences(target: VolumeTarget) -> Iterator[str]:
    """Say what a volume's restore leaves out."""
    key = target.content.key
    if target.content.losses:
        yield told(key, target.content.losses)
    if target.hidden:
        yield (
            f"In the volume {key}, what the backup has below {', '.join(target.hidden)} is left "
            "out: something else is mounted there, and it was archived with the volume."
        )


def _volume_for(
    content: VolumeContent, volumes: Collection[VolumeSource], others: Collection[str]
) -> VolumeSource | None:
    """Return the volume of that key; else the one at that place, unless it is another content's."""
    for volume in volumes:
        if volume.key == content.key:
            return volume
    places = set(content.mounted_at)
    for volume in volumes:
        if volume.key not in others and places & {
            (p.container.service, p.destination) for p in volume.mount_points
        }:
            return volume
    return None


def _volume_needs(engine: Engine, targets: Collection[VolumeTarget]) -> list[Need]:
    needs = [volume_need(engine, target.volume, target.content) for target in targets]
    found = [need for need in needs if need is not None]
    check_room(found)
    return found


def _config_warnings(stack: Stack, source: Source, parts: Collection[Part]) -> list[str]:
    """Say how the configuration differs, never what stands in it."""
    warnings = []
    if "config" in parts:
        elsewhere = [file.name for file in source.config if file.path is None]
        if elsewhere:
            warnings.append(
                f"{', '.join(elsewhere)}: not written, as it came from outside of the project's "
                "folder."
            )
    elif differing := differing_files(stack.working_dir, source.config):
        warnings.append(
            f"{', '.join(differing)} differ{'s' if len(differing) == 1 else ''} from the backup's; "
            "--only config restores the configuration."
        )
    if session_key_differs(stack.working_dir, source.config):
        what = "gets another" if "config" in parts else "has another than the backup"
        warnings.append(f"The stack {what} WEBUI_SECRET_KEY: everybody has to sign in again.")
    return warnings


def _check_version(server: Server, database: DatabaseContent) -> None:
    if database.server_version_number is None:
        return
    theirs = database.server_version_number // 10000
    ours = int(server.ask("SHOW server_version_num;", database=MAINTENANCE_DATABASE)[0][0]) // 10000
    if theirs > ours:
        raise OwctlError(
            f"The backup is of PostgreSQL {theirs}, and {server.container.service} is "
            f"PostgreSQL {ours}: an older server cannot be relied on to read it.",
            hint=f"an image of PostgreSQL {theirs} for {server.container.service} in the compose "
            "file, with a new volume; then owctl start and this command again",
        )
