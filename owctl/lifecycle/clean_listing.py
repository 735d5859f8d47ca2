"""What a project has on the engine: what goes when it is cleaned, and what stays, and why."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from owctl.compose.model import Stack
from owctl.errors import OwctlError
from owctl.lifecycle.clean_images import list_images_to_remove
from owctl.lifecycle.clean_items import Item, Kept, Kind, users_of

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.usage import Usage

_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
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
    from owctl.engine.usage import list_usage

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
    from owctl.engine.volumes import inspect_volume, list_volumes

    labelled = {volume.name for volume in list_volumes(engine, stack.project)}
    external = {volume.name for volume in stack.volumes.values() if volume.external}
    mounted = {name: each for each in own for name in each.volumes}
    declared = {volume.name for volume in stack.volumes.values()}
    names = sorted(labelled | {n for n in declared - mounted.keys() if inspect_volume(engine, n)})
    names += sorted(mounted.keys() - set(names), key=lambda n: (mounted[n].name, n))
    items, kept = list[Item](), list[Kept]()
    for name in names:
        anonymous = name not in labelled and _ANONYMOUS.fullmatch(name) is not None
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
