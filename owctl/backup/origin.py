"""Where a backup comes from: which image each service ran, or would run."""

from typing import Any

from owctl.backup.inventory import Inventory
from owctl.compose.model import Stack
from owctl.engine.connection import Engine


def describe_services(
    engine: Engine, stack: Stack, inventory: Inventory
) -> dict[str, dict[str, Any]]:
    """Return image, image id and registry digests by service, in the order of their names.

    For a service without a container they are those of the image that it would be made from; one
    whose image is not on this machine is left out.
    """
    from owctl.engine.images import image_id

    images: dict[str, tuple[str, str]] = {}
    for service in stack.services.values():
        reference = service.image_name(stack.project)
        running = [c for c in inventory.containers if c.service == service.name]
        if not running and (found := image_id(engine, reference)) is not None:
            images[service.name] = (reference, found)
    for container in sorted(inventory.containers, key=lambda item: item.number):
        images.setdefault(container.service, (container.image, container.image_id))
    return {
        service: {"image": image, "image_id": identity, "image_digests": _digests(engine, identity)}
        for service, (image, identity) in sorted(images.items())
    }


def _digests(engine: Engine, image_id: str) -> list[str]:
    """Return ``name@sha256:…`` of an image; none for one that was built here."""
    from owctl.engine.images import inspect_image

    image = inspect_image(engine, image_id)
    return list(image.digests) if image is not None else []
