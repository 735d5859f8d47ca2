"""What an upgrade to another PostgreSQL would do, and whether it can: changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from owctl.backup.restore.journal import Journal as RestoreJournal
from owctl.changeover.journal import refuse_second
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.execution import run
from owctl.errors import OwctlError, UsageError
from owctl.figures import readable
from owctl.lifecycle.services import Services
from owctl.postgres.transfer import ClusterFacts, look_at
from owctl.progress import Receiver, ignore
from owctl.project.ownership import check_owner
from owctl.project.upgrade_record import read_record
from owctl.upgrade.postgres.place import Journal, Place, find_place
from owctl.volumes.one_off import volume_helper

# The new database takes about as much as the old one, and is copied once into the old one's volume.
_COPIES = 2
_RESERVE_BYTES = 256 * 1024 * 1024
# Dumped and loaded, read twice for the checksums, copied, and read once more: on the careful side.
_BYTES_PER_SECOND = 15_000_000
_LEAST_SECONDS = 20
_SIZE = 'du -sk "$0" | cut -f 1; df -Pk "$0" | tail -n 1'
_SIZE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """What was asked for. ``old_image`` is one of the old PostgreSQL, where it cannot be found."""

    timeout_seconds: float
    old_image: str | None = None


@dataclass(frozen=True, slots=True)
class UpgradePlan:
    """What would be done.

    ``facts`` is what the old server has, None while it does not run. ``running`` are the services
    that run, ``stops`` those of them that stand still for ``seconds``, about.
    """

    place: Place
    size_bytes: int
    free_bytes: int | None
    needed_bytes: int
    facts: ClusterFacts | None
    running: tuple[str, ...]
    stops: tuple[str, ...]
    is_image_here: bool
    seconds: int


def plan_upgrade(
    engine: Engine, stack: Stack, request: UpgradeRequest, receive: Receiver = ignore
) -> UpgradePlan:
    """Look at everything that can be seen without a change; raises OwctlError where it cannot work."""
    refuse_another(stack)
    check_owner(engine, stack.project, stack.working_dir, adopt=False)
    place = find_place(engine, stack, request.old_image)
    check_versions(place)
    own_id = None if place.container is None else place.container.id
    refuse_users(engine, place.volume, own_id)
    services = Services(engine, stack, receive, request.timeout_seconds)
    facts = look_at(services.server()) if place.is_running else None
    size, free = _measure(engine, stack, place)
    running = services.running()
    plan = UpgradePlan(
        place=place,
        size_bytes=size,
        free_bytes=free,
        needed_bytes=_COPIES * size + _RESERVE_BYTES,
        facts=facts,
        running=running,
        stops=tuple(name for name in running if name not in kept_running(services)),
        is_image_here=_is_here(engine, place),
        seconds=_LEAST_SECONDS + size // _BYTES_PER_SECOND,
    )
    check_room(plan)
    return plan


def kept_running(services: Services) -> set[str]:
    """Return the services that do not stand still: what keeps nothing in the database."""
    return services.undisturbed(("db",)) - {services.database}


def refuse_another(stack: Stack) -> None:
    """Raise OwctlError where an upgrade or a restore is under way already."""
    refuse_second(Journal.read(stack.working_dir))
    under_way = read_record(stack.working_dir).under_way
    if under_way is not None:
        raise OwctlError(
            f"The {under_way.upgrade.kind} that began at {under_way.upgrade.started_at} is not at "
            "its end.",
            hint="owctl upgrade, which goes on with it; or owctl rollback",
        )
    restore = RestoreJournal.read(stack.working_dir)
    if restore is not None:
        raise OwctlError(
            f"The {restore.name} is not finished yet: what it keeps would be lost.",
            hint=restore.kind.way("finish", "undo"),
        )


def check_versions(place: Place) -> None:
    """Raise UsageError unless the new image is of a newer PostgreSQL, as far as it tells."""
    if place.new_major is None:
        return
    old, new = (int(each.partition(".")[0]) for each in (place.old_major, place.new_major))
    how = (
        f"set the new image first (POSTGRES_IMAGE in .env, or `image:` of {place.service.name}), "
        "then this command again"
    )
    if old == new:
        raise UsageError(
            f"The data is of PostgreSQL {old}, and so is {place.new_image}: nothing to upgrade.",
            hint=how,
        )
    if new < old:
        raise UsageError(
            f"The data is of PostgreSQL {old}, and {place.new_image} is PostgreSQL {new}, which is "
            "older: there is no way down.",
            hint=how,
        )


def check_room(plan: UpgradePlan) -> None:
    """Raise OwctlError if the disk of the volume has too little room."""
    if plan.free_bytes is not None and plan.free_bytes < plan.needed_bytes:
        raise OwctlError(
            f"There is not enough room to upgrade: the old database ({readable(plan.size_bytes)}) "
            f"stays beside the new one, and {readable(plan.needed_bytes)} are needed meanwhile; "
            f"{readable(plan.free_bytes)} are free.",
            hint="make room on the disk of the engine's volumes",
        )


def with_image(
    plan: UpgradePlan, engine: Engine, stack: Stack, request: UpgradeRequest
) -> UpgradePlan:
    """Return the plan after the new image came: only now it tells its version and its folders."""
    place = find_place(engine, stack, request.old_image)
    check_versions(place)
    if place.new_major is None:
        raise OwctlError(
            f"The image {place.new_image} does not tell which PostgreSQL it is (PG_MAJOR).",
            hint="an image that is made as the official postgres image is",
        )
    return replace(plan, place=place, is_image_here=True)


def _is_here(engine: Engine, place: Place) -> bool:
    from owctl.engine.images import image_id

    return image_id(engine, place.new_image) is not None


def refuse_users(engine: Engine, volume: str, allowed_id: str | None = None) -> None:
    """Raise OwctlError where a container runs on the volume, but for one."""
    with engine.translate("look for containers that use the volume"):
        found = engine.api.containers(filters={"volume": volume})
    others = [str(raw["Names"][0]).lstrip("/") for raw in found if raw["Id"] != allowed_id]
    if others:
        raise OwctlError(
            f"{', '.join(others)} uses the volume {volume}, and must not while it is upgraded.",
            hint=f"docker stop {' '.join(others)}",
        )


def _measure(engine: Engine, stack: Stack, place: Place) -> tuple[int, int | None]:
    """Return the size of the data, and what is free on its disk, in bytes."""
    if place.is_running:
        assert place.container is not None
        mounts = place.container.mounts
        root = next(each.destination for each in mounts if each.name == place.volume)
        folder = f"{root}/{place.folder}".rstrip("/")
        argv = ["sh", "-c", _SIZE, folder]
        answer = run(engine, place.container.id, argv, user="0:0", timeout_seconds=_SIZE_SECONDS)
        return _sizes(answer.stdout.decode("utf-8", "replace").splitlines())
    with volume_helper(
        engine, stack.project, place.old_image_id, place.volume, "look", running=True
    ) as helper:
        folder = f"{helper.path}/{place.folder}".rstrip("/")
        return _sizes(helper.run(_SIZE.replace("$0", "$1"), [folder]).splitlines())


def _sizes(lines: Sequence[str]) -> tuple[int, int | None]:
    if len(lines) < 2 or not lines[0].isdigit():
        raise OwctlError(
            "The size of the database could not be measured: the image has no du or df.",
            hint="docs/upgrade-postgres.md, which says how to do it by hand",
        )
    words = lines[-1].split()
    free = int(words[3]) * 1024 if len(words) >= 6 and words[3].isdigit() else None
    return int(lines[0]) * 1024, free
