"""Where a backup comes from: which image each service ran."""

from typing import Any

from owctl.backup.inventory import Inventory
from owctl.engine.connection import Engine


def describe_services(engine: Engine, inventory: Inventory) -> dict[str, dict[str, Any]]:
    """Return image, image id and registry digests by service, in the order of their names."""
    found: dict[str, dict[str, Any]] = {}
    for container in sorted(inventory.containers, key=lambda item: (item.service, item.number)):
        if container.service not in found:
            found[container.service] = {
                "image": container.image,
                "image_id": container.image_id,
                "image_digests": _digests(engine, container.image_id),
            }
    return found


def _digests(engine: Engine, image_id: str) -> list[str]:
    """Return ``name@sha256:…`` of an image; none for one that was built here."""
    from owctl.engine.images import inspect_image

    image = inspect_image(engine, image_id)
    return list(image.digests) if image is not None else []
