"""What a replacement that was cut short leaves: one container too many, or one with a wrong name."""

from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import list_containers, rename_container, stop_and_remove
from owctl.lifecycle.actions import grace_seconds
from owctl.lifecycle.observed import SUCCESSOR_NAME


def tidy(engine: Engine, stack: Stack) -> set[str]:
    """Remove successors whose predecessor is still there; give the others its name.

    A predecessor that was stopped already is started by what comes next. Returns the services that
    have fewer containers now. Raises OwctlError.
    """
    fewer = set[str]()
    containers = list_containers(engine, stack.project)
    taken = {each.name for each in containers}
    for container in containers:
        if container.service not in stack.services or not SUCCESSOR_NAME.match(container.name):
            continue
        name = SUCCESSOR_NAME.sub("", container.name)
        if name in taken:
            # It may serve already.
            stop_and_remove(engine, container.id, grace_seconds(stack.services[container.service]))
            fewer.add(container.service)
        else:
            rename_container(engine, container.id, name)
            taken.add(name)
    return fewer
