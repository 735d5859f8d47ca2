"""Which containers write to what a backup captures, and so stand still with ``--quiesce``."""

from collections.abc import Collection

from owctl.backup.interlude.record import AT_WORK
from owctl.backup.inventory import Inventory
from owctl.compose.model import Stack
from owctl.engine.containers import Container


def writers(stack: Stack, inventory: Inventory, parts: Collection[str]) -> list[Container]:
    """Return the containers at work that mount a captured volume, or depend on a captured store.

    PostgreSQL and Redis are not among them: a dump has its snapshot, and Redis writes its data out.
    """
    stores: set[str] = set()
    if "db" in parts and inventory.database_service is not None:
        stores.add(inventory.database_service)
    if "redis" in parts:
        stores |= inventory.redis_services
    captured = {source.name for source in inventory.volumes_of(parts)}
    staying = {inventory.database_service, *inventory.redis_services}
    above = _dependants(stack, stores)
    return [
        container
        for container in inventory.containers
        if container.state in AT_WORK
        and container.service not in staying
        and (container.service in above or _writes_to(container, captured))
    ]


def _writes_to(container: Container, captured: Collection[str]) -> bool:
    return any(mount.read_write and mount.name in captured for mount in container.mounts)


def _dependants(stack: Stack, stores: Collection[str]) -> set[str]:
    """Return the services that depend on others, directly or through services between."""
    found: set[str] = set()
    while True:
        more = {
            name
            for name, service in stack.services.items()
            if any(edge.service in {*stores, *found} for edge in service.depends_on)
        }
        if more <= found:
            return found
        found |= more
