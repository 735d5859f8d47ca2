"""What ``clean`` would remove: containers, networks, volumes and images, with their sizes."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from owctl.compose.model import Stack
from owctl.errors import OwctlError

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Usage
    from owctl.engine.images import Image


# -- What a clean is about: things that go, and things that stay.


Kind = Literal["container", "network", "volume", "image"]


@dataclass(frozen=True, slots=True)
class Item:
    """Something that goes. ``name`` is what the engine removes it by, ``id`` identifies it.

    ``size_bytes`` is None where it is not known, or does not matter; ``service`` is a container's.
    """

    kind: Kind
    name: str
    id: str
    size_bytes: int | None = None
    note: str = ""
    service: str = ""
    needs_stop: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that stays, and why; ``is_ours`` unless it is nobody's or another project's."""

    kind: Literal["container", "network", "volume", "image", "folder"]
    name: str
    why: str
    is_ours: bool = True


def users_of(others: Iterable["Usage"]) -> str:
    """Return who uses something, in words; "" for nobody."""
    names = [f"{o.name} of {o.project or 'no project'}" for o in others]
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return f"used by {', '.join(names[:2])}{more}" if names else ""


# -- Which images only this project uses: those it runs or builds, and no container of another does.


def list_images_to_remove(
    engine: "Engine", stack: Stack, own: Sequence["Usage"], others: Sequence["Usage"]
) -> tuple[list[Item], list[Kept]]:
    """Return the images that go, one item a name, and those that stay; changes nothing.

    An image with further names loses the project's name only. One that was built for another
    project stays, though none of its containers exists now.
    """
    from owctl.engine.images import inspect_image, kept_names, list_images

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


# -- What a project has on the engine: what goes when it is cleaned, and what stays, and why.


_UNLABELLED = "it was not made for this project: no label says so"
# The engine measures for one at a time, and refuses everybody else meanwhile.
_MEASURE_SECONDS = 15.0
_MEASURE_AGAIN_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class CleanOptions:
    """What to clean beyond containers and networks."""

    volumes: bool = True
    images: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """What goes and what stays."""

    items: tuple[Item, ...]
    kept: tuple[Kept, ...]

    def of(self, kind: Kind) -> list[Item]:
        """Return the items of a kind."""
        return [item for item in self.items if item.kind == kind]


def list_project(engine: "Engine", stack: Stack, options: CleanOptions) -> Listing:
    """Look at everything of the project on the engine; changes nothing.

    What a container of another project uses, and what is external, stays. Raises the engine's errors.
    """
    from owctl.engine.containers import list_usage

    everybody = list_usage(engine)
    own = [each for each in everybody if each.project == stack.project]
    others = [each for each in everybody if each.project != stack.project]
    items, kept = [_container(stack, each) for each in own], list[Kept]()
    for found in (
        _networks(engine, stack, others),
        _volumes(engine, stack, own, others, options),
        list_images_to_remove(engine, stack, own, others) if options.images else ([], []),
        ([], _folders(stack, own)),
    ):
        items += found[0]
        kept += found[1]
    return Listing(tuple(items), tuple(kept))


def _container(stack: Stack, usage: "Usage") -> Item:
    notes = [usage.state]
    if usage.is_oneoff:
        notes.append("one-off")
    elif usage.service not in stack.services:
        notes.append("no compose file describes it")
    return Item(
        kind="container",
        name=usage.name,
        id=usage.id,
        note=", ".join(notes),
        # Whoever runs a command in a service's image is none of its containers.
        service="" if usage.is_oneoff else usage.service,
        needs_stop=usage.needs_stop,
    )


def _networks(
    engine: "Engine", stack: Stack, others: Sequence["Usage"]
) -> tuple[list[Item], list[Kept]]:
    from owctl.engine.networks import find_network, list_networks

    items, kept = list[Item](), list[Kept]()
    external = {network.name for network in stack.networks.values() if network.external}
    labelled = {network.name: network for network in list_networks(engine, stack.project)}
    for name, network in labelled.items():
        used = users_of(o for o in others if o.networks & {name, network.id})
        if name in external or used:
            kept.append(Kept("network", name, "external" if name in external else used))
        else:
            items.append(Item("network", name, network.id))
    kept += [
        Kept("network", declared.name, "external" if declared.external else _UNLABELLED)
        for declared in stack.networks.values()
        if declared.name not in labelled and find_network(engine, declared.name) is not None
    ]
    return items, kept


def _volumes(
    engine: "Engine",
    stack: Stack,
    own: Sequence["Usage"],
    others: Sequence["Usage"],
    options: CleanOptions,
) -> tuple[list[Item], list[Kept]]:
    from owctl.engine.volumes import inspect_volume, is_unnamed, list_volumes

    labelled = {volume.name for volume in list_volumes(engine, stack.project)}
    external = {volume.name for volume in stack.volumes.values() if volume.external}
    mounted = {name: each for each in own for name in each.volumes}
    declared = {volume.name for volume in stack.volumes.values()}
    names = sorted(labelled | {n for n in declared - mounted.keys() if inspect_volume(engine, n)})
    names += sorted(mounted.keys() - set(names), key=lambda n: (mounted[n].name, n))
    items, kept = list[Item](), list[Kept]()
    for name in names:
        anonymous = name not in labelled and is_unnamed(name)
        used = users_of(o for o in others if name in o.volumes)
        if name in external:
            kept.append(Kept("volume", name, "external", is_ours=False))
        elif name not in labelled and not anonymous:
            kept.append(Kept("volume", name, _UNLABELLED, is_ours=False))
        elif used or not options.volumes:
            kept.append(Kept("volume", name, used or "--keep-volumes"))
        else:
            note = f"anonymous, of {mounted[name].name}" if anonymous else ""
            items.append(Item("volume", name, name, note=note))
    return _measured(engine, items), kept


def _measured(engine: "Engine", volumes: Sequence[Item]) -> list[Item]:
    """Return the volumes with their sizes; without them where the engine cannot tell."""
    from dataclasses import replace

    from owctl.engine.volumes import volume_sizes

    deadline = time.monotonic() + _MEASURE_SECONDS
    sizes: dict[str, int] = {}
    while volumes:
        try:
            sizes = volume_sizes(engine)
            break
        except OwctlError as error:
            busy = "already running" in f"{error.message} {error.details}"
            if not busy or time.monotonic() > deadline:
                break
            time.sleep(_MEASURE_AGAIN_SECONDS)
    return [replace(volume, size_bytes=sizes.get(volume.name)) for volume in volumes]


def _folders(stack: Stack, own: Sequence["Usage"]) -> list[Kept]:
    declared = {
        mount.source
        for service in stack.services.values()
        for mount in service.mounts
        if mount.type == "bind" and mount.source
    }
    folders = declared | {source for each in own for source in each.binds}
    return [Kept("folder", name, "a path of the host") for name in sorted(folders)]
