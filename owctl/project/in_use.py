"""What a project's containers and volumes on the engine already depend on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from owctl.project.secret_values import SECRET_NAMES

if TYPE_CHECKING:
    from owctl.compose.model import Service, Stack
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container

# PostgreSQL takes these when its volume is new, and never again.
DATABASE_NAMES = ("POSTGRES_PASSWORD", "POSTGRES_USER", "POSTGRES_DB")
_DATA_FOLDER = "/var/lib/postgresql"


@dataclass(frozen=True, slots=True)
class InUse:
    """``values`` are variables as the containers have them; ``database`` names what holds the
    database ("volume x_postgres_data"), None where there is none yet.
    """

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    database: str | None = None


def find_in_use(engine: "Engine", stack: "Stack") -> InUse:
    """Look on the engine for the stack's containers and its database volume.

    Raises the engine's errors. Nothing is changed.
    """
    from owctl.engine.containers import list_containers

    containers = list_containers(engine, stack.project)
    databases = [item for item in containers if _is_database(item, database_services(stack))]
    values: dict[str, str] = {}
    for name in SECRET_NAMES:
        if name not in DATABASE_NAMES:
            found = [item.environment[name] for item in containers if item.environment.get(name)]
            values |= {name: found[0]} if found else {}
    for container in databases[:1]:
        values |= {
            name: container.environment[name]
            for name in DATABASE_NAMES
            if container.environment.get(name)
        }
    holder = f"container {databases[0].name}" if databases else _database_volume(engine, stack)
    return InUse(values, holder)


def database_services(stack: "Stack") -> dict[str, "Service"]:
    """Return the stack's PostgreSQL services: by what they mount, else by their settings."""
    return {
        name: service
        for name, service in stack.services.items()
        if any(mount.target.startswith(_DATA_FOLDER) for mount in service.mounts)
        or "POSTGRES_PASSWORD" in service.environment
    }


def _is_database(container: "Container", services: Mapping[str, "Service"]) -> bool:
    return container.service in services or any(
        mount.destination.startswith(_DATA_FOLDER) for mount in container.mounts
    )


def _database_volume(engine: "Engine", stack: "Stack") -> str | None:
    """Return the volume that the stack would give its PostgreSQL, if it is there already."""
    wanted = {
        stack.volumes[mount.source or ""].name
        for service in database_services(stack).values()
        for mount in service.mounts
        if mount.source in stack.volumes and mount.target.startswith(_DATA_FOLDER)
    }
    with engine.translate("list the volumes"):
        existing = {volume["Name"] for volume in engine.api.volumes().get("Volumes") or []}
    found = sorted(wanted & existing)
    return f"volume {found[0]}" if found else None
