"""What exists of a stack on the engine, seen once before a plan is made."""

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from owctl.compose.model import Stack

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container
    from owctl.engine.images import Image

# While a container is replaced, its successor carries this prefix: compose's convention.
SUCCESSOR_NAME = re.compile(r"^[0-9a-f]{12}_")


@dataclass(frozen=True, slots=True)
class Observed:
    """Containers of the project by state of affairs, and which objects of the stack exist.

    ``successors`` are containers that a replacement which was cut short left beside the old ones;
    ``inactive`` belong to services whose profile is not active, ``orphans`` to none that the files
    describe. ``networks`` maps names to ids, ``images`` maps references to images.
    """

    containers: tuple["Container", ...] = ()
    successors: tuple["Container", ...] = ()
    inactive: tuple["Container", ...] = ()
    orphans: tuple["Container", ...] = ()
    networks: Mapping[str, str] = field(default_factory=dict)
    volumes: frozenset[str] = frozenset()
    images: dict[str, "Image"] = field(default_factory=dict)

    def of(self, service: str) -> list["Container"]:
        """Return a service's containers, by number."""
        found = [c for c in self.containers if c.service == service]
        return sorted(found, key=lambda container: container.number)


def set_apart(
    containers: Sequence["Container"],
) -> tuple[list["Container"], list["Container"]]:
    """Return the containers that count, and the successors of those that are still there.

    A replacement that is cut short before its last step leaves the successor alone, under a name for
    the while: then it is the service's container, with all that the old one handed on to it.
    """
    counted = [each for each in containers if not SUCCESSOR_NAME.match(each.name)]
    left: list[Container] = []
    rest = [each for each in containers if SUCCESSOR_NAME.match(each.name)]
    for each in sorted(rest, key=lambda one: not one.is_running):
        place = (each.service, each.number)
        taken = any(
            final_name(other) == final_name(each) or (other.service, other.number) == place
            for other in counted
        )
        (left if taken else counted).append(each)
    return counted, left


def final_name(container: "Container") -> str:
    """Return a container's name without what it has for the while of a replacement."""
    return SUCCESSOR_NAME.sub("", container.name)


def observe(engine: "Engine", stack: Stack, *, images: bool = True) -> Observed:
    """Look at containers, networks, volumes and images at the same time."""
    from owctl.engine.containers import list_containers
    from owctl.engine.images import inspect_image

    names = {s.image_name(stack.project) for s in stack.services.values()} if images else set()
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="observe") as pool:
        containers = pool.submit(list_containers, engine, stack.project)
        networks = pool.submit(_existing_networks, engine, stack)
        volumes = pool.submit(_existing_volumes, engine, stack)
        inspected = {name: pool.submit(inspect_image, engine, name) for name in sorted(names)}
        found = containers.result()
        counted, left = set_apart(found)
        described = {*stack.services, *stack.inactive_services}
        return Observed(
            containers=tuple(c for c in counted if c.service in stack.services),
            successors=tuple(left),
            inactive=tuple(c for c in found if c.service in stack.inactive_services),
            orphans=tuple(c for c in found if c.service not in described),
            networks=networks.result(),
            volumes=volumes.result(),
            images={
                name: image
                for name, future in inspected.items()
                if (image := future.result()) is not None
            },
        )


def _existing_networks(engine: "Engine", stack: Stack) -> dict[str, str]:
    from owctl.engine.networks import find_network, list_networks

    found = {network.name: network.id for network in list_networks(engine, stack.project)}
    for network in stack.networks.values():
        # One that is external, or that somebody made by hand, carries no label of ours.
        if network.name not in found and (other := find_network(engine, network.name)):
            found[network.name] = other.id
    return found


def _existing_volumes(engine: "Engine", stack: Stack) -> frozenset[str]:
    from owctl.engine.volumes import inspect_volume, list_volumes

    labelled = {volume.name for volume in list_volumes(engine, stack.project)}
    others = {volume.name for volume in stack.volumes.values()} - labelled
    return frozenset(labelled | {name for name in others if inspect_volume(engine, name)})
