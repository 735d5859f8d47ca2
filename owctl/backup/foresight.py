"""What a backup would do, told before it is done."""

from collections.abc import Iterator

from owctl.backup.interlude.needs import check_something_exists, dormant_database
from owctl.backup.interlude.writers import writers
from owctl.backup.inventory import Inventory, take_inventory
from owctl.backup.members.configuration import configuration_files
from owctl.backup.members.database import find_database
from owctl.backup.request import BackupRequest
from owctl.compose.model import Stack
from owctl.engine.connection import Engine


def foresee(engine: Engine, stack: Stack, request: BackupRequest) -> list[str]:
    """Return one line for each thing that a backup would do, in order; changes nothing.

    Raises OwctlError for what can be seen to fail.
    """
    inventory = take_inventory(engine, stack)
    if request.parts != {"config"}:
        check_something_exists(engine, stack, inventory)
    before: list[str] = []
    after: list[str] = []
    if "db" in request.parts:
        before, after = _waking(engine, inventory)
    lines = [*before, *_captured(stack, request, inventory)]
    if request.verify:
        lines.append("read everything back")
    return [*lines, *after]


def _waking(engine: Engine, inventory: Inventory) -> tuple[list[str], list[str]]:
    """Return what is done first and last, so that there is a database to dump."""
    dormant = dormant_database(engine, inventory)
    if isinstance(dormant, str):
        return [f"create and start {dormant}"], [f"stop and remove {dormant} again"]
    if dormant is not None:
        return [f"start {dormant.name}"], [f"stop {dormant.name} again"]
    # Raises where there is none.
    find_database(inventory)
    return [], []


def _captured(stack: Stack, request: BackupRequest, inventory: Inventory) -> Iterator[str]:
    halted = writers(stack, inventory, request.parts) if request.quiesce else []
    for container in halted:
        yield f"stop {container.name} for the while"
    if "db" in request.parts:
        yield f"dump the database of {inventory.database_service}"
    for source in inventory.volumes_of(request.parts):
        yield f"archive the volume {source.name} ({source.part})"
    for container in halted:
        yield f"start {container.name} again"
    if "config" in request.parts:
        for _, path in configuration_files(stack):
            yield f"store {path}"
