"""What a replacement that was cut short leaves: one container too many, or one with a wrong name."""

from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import list_containers, remove_container, rename_container
from owctl.lifecycle.observed import SUCCESSOR_NAME


def tidy(engine: Engine, stack: Stack) -> None:
    """Remove successors whose predecessor is still there; give the others its name.

    A predecessor that was stopped already is started by what comes next.
    """
    containers = list_containers(engine, stack.project)
    taken = {each.name for each in containers}
    for container in containers:
        if container.service not in stack.services or not SUCCESSOR_NAME.match(container.name):
            continue
        name = SUCCESSOR_NAME.sub("", container.name)
        if name in taken:
            remove_container(engine, container.id, force=True)
        else:
            rename_container(engine, container.id, name)
            taken.add(name)
