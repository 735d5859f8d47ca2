"""What a backup needs to run: a dump needs its database, and is all that needs anything."""

from owctl.backup.interlude.changes import Interlude
from owctl.backup.inventory import Inventory
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import Container
from owctl.engine.volumes import inspect_volume
from owctl.errors import OwctlError

_CAN_BE_STARTED = ("created", "exited")


def dormant_database(engine: Engine, inventory: Inventory) -> Container | str | None:
    """Return what a dump needs first: a container to start, or the service to make one of.

    None where the database runs, or is in a state of which the dump itself says what is wrong.
    Raises OwctlError if there is no database that could be started.
    """
    service = inventory.database_service
    containers = inventory.database_containers()
    if service is None or any(container.is_running for container in containers):
        return None
    if containers:
        return next((each for each in containers if each.state in _CAN_BE_STARTED), None)
    _check_data(engine, service, inventory)
    return service


def wake_database(engine: Engine, inventory: Inventory, interlude: Interlude) -> bool:
    """Have the database run for the length of the interlude; return whether it had to be started.

    Raises OwctlError if there is no database that could be started.
    """
    dormant = dormant_database(engine, inventory)
    if isinstance(dormant, str):
        interlude.create(dormant)
    elif dormant is not None:
        interlude.wake(dormant)
    return dormant is not None


def check_something_exists(engine: Engine, stack: Stack, inventory: Inventory) -> None:
    """Raise OwctlError for a project that the engine has nothing of."""
    if not (inventory.containers or inventory.volumes or _data_exists(engine, inventory)):
        raise OwctlError(
            f"There is nothing of {stack.project} to back up: it has no containers and no volumes.",
            hint="owctl start; or -p NAME, if the project goes by another name",
        )


def _data_exists(engine: Engine, inventory: Inventory) -> bool:
    """Return whether the volumes of PostgreSQL's data folder exist, and there are any."""
    names = inventory.database_volumes
    return bool(names) and all(inspect_volume(engine, name) is not None for name in names)


def _check_data(engine: Engine, service: str, inventory: Inventory) -> None:
    """Refuse to create a container over no data: it would begin an empty database."""
    if _data_exists(engine, inventory):
        return
    names = ", ".join(sorted(inventory.database_volumes))
    raise OwctlError(
        f"There is no database to back up: {service} has no container, and "
        + (f"its volume {names} does not exist." if names else "keeps its data in no volume."),
        hint="owctl start, or owctl backup --only files,redis,config",
    )
