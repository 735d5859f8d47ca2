"""Which images only this project uses: those it runs or builds, and no container of another does."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from owctl.compose.model import Stack
from owctl.lifecycle.clean_items import Item, Kept, users_of

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.images import Image
    from owctl.engine.usage import Usage


def list_images_to_remove(
    engine: "Engine", stack: Stack, own: Sequence["Usage"], others: Sequence["Usage"]
) -> tuple[list[Item], list[Kept]]:
    """Return the images that go, one item a name, and those that stay; changes nothing.

    An image with further names loses the project's name only. One that was built for another
    project stays, though none of its containers exists now.
    """
    from owctl.engine.images import inspect_image, list_images
    from owctl.engine.kept_images import kept_names

    references = {service.declared_image(stack.project) for service in stack.services.values()}
    going_back = set(kept_names(engine, stack.project))
    references |= {each.image for each in own} | going_back
    # By id, too: the name may have gone to a newer image since the container was made.
    wanted = sorted(references | {each.image_id for each in own})
    present = engine.map(lambda name: inspect_image(engine, name), wanted, quick=True)
    built = list_images(engine, stack.project)
    images = {image.id: image for image in (*present, *built) if image is not None}
    items, kept = list[Item](), list[Kept]()
    for image in images.values():
        names = _own_names(stack, image, references)
        shown = names[0] if names else _short(image.id)
        if why := _reason_to_keep(stack, image, others):
            # What was kept for going back loses that name all the same: nobody else has it.
            items += [
                Item("image", name, image.id, 0, "the name only")
                for name in names
                if name in going_back
            ]
            kept += [Kept("image", shown, why)] if shown not in going_back else []
        else:
            items += _items(image, names)
    return sorted(items, key=lambda item: item.name), kept


def _reason_to_keep(stack: Stack, image: "Image", others: Iterable["Usage"]) -> str:
    from owctl.engine.naming import PROJECT

    builder = image.labels.get(PROJECT)
    if builder and builder != stack.project:
        return f"built for the project {builder}"
    return users_of(other for other in others if other.image_id == image.id)


def _own_names(stack: Stack, image: "Image", references: Iterable[str]) -> list[str]:
    """Return the names of an image by which this project knows it."""
    from owctl.engine.naming import PROJECT

    known = {name if _has_tag(name) else f"{name}:latest" for name in references}
    built_here = image.labels.get(PROJECT) == stack.project
    # Of a service that is not in the files any more; compose's older form has an underscore.
    prefixes = (f"{stack.project}-", f"{stack.project}_") if built_here else ()
    return [
        name
        for name in (*image.tags, *(d for d in image.digests if d in known))
        if name in known or (prefixes and name.startswith(prefixes))
    ]


def _items(image: "Image", names: Sequence[str]) -> list[Item]:
    others = [tag for tag in image.tags if tag not in names]
    if not names and not others:
        return [Item("image", image.id, image.id, image.size_bytes, "without a name")]
    if others:
        note = f"the name only; also called {others[0]}"
        return [Item("image", name, image.id, 0, note) for name in names]
    first, *further = names
    return [
        Item("image", first, image.id, image.size_bytes),
        *(Item("image", name, image.id, 0, f"the same as {first}") for name in further),
    ]


def _has_tag(name: str) -> bool:
    return "@" in name or ":" in name.rpartition("/")[2]


def _short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:12]
