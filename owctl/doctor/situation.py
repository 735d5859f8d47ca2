"""What the checks look at: the stack, and what the engine has of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from owctl.compose.model import Service, Stack

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container
    from owctl.engine.images import Image


@dataclass(frozen=True, slots=True)
class Situation:
    """A stack on an engine, seen once. ``volumes`` are the names of those that exist;
    ``images`` maps references to images that are on the machine.
    """

    engine: "Engine"
    stack: Stack
    containers: tuple["Container", ...] = ()
    volumes: frozenset[str] = frozenset()
    images: Mapping[str, "Image"] = field(default_factory=dict)

    def of(self, service: str) -> tuple["Container", ...]:
        """Return a service's containers, running ones first."""
        found = [container for container in self.containers if container.service == service]
        return tuple(sorted(found, key=lambda container: not container.is_running))

    def image(self, service: Service) -> "Image | None":
        """Return the image that the files give a service, None if it is not there."""
        return self.images.get(service.image_name(self.stack.project))

    @property
    def is_local(self) -> bool:
        """Whether the engine is on this machine, as far as its address tells."""
        return self.engine.endpoint.is_local


def look(engine: "Engine", stack: Stack) -> Situation:
    """See what the engine has of the stack. Raises the engine's errors."""
    from owctl.engine.containers import list_containers
    from owctl.engine.images import inspect_image
    from owctl.health.parallel import at_once

    names = sorted({service.image_name(stack.project) for service in stack.services.values()})

    def volumes() -> frozenset[str]:
        with engine.translate("list the volumes"):
            answer = engine.api.volumes()
        return frozenset(str(volume["Name"]) for volume in answer.get("Volumes") or [])

    containers: tuple[Container, ...] = ()
    images: list[Image | None] = []
    present: frozenset[str] = frozenset()

    def look_at_containers() -> None:
        nonlocal containers
        containers = tuple(list_containers(engine, stack.project))

    def look_at_images() -> None:
        images.extend(inspect_image(engine, name) for name in names)

    def look_at_volumes() -> None:
        nonlocal present
        present = volumes()

    at_once([look_at_containers, look_at_images, look_at_volumes])
    found = {name: image for name, image in zip(names, images, strict=True) if image is not None}
    return Situation(engine, stack, containers, present, found)
