"""Take a project off the engine: containers, then networks, then volumes, then images."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from owctl.compose.model import Stack
from owctl.errors import EngineError, Interrupted, OwctlError
from owctl.lifecycle.actions import Report, grace_seconds
from owctl.lifecycle.clean_listing import CleanOptions, Item, Kept, Kind, Listing, list_project
from owctl.lifecycle.execute import announce, execute
from owctl.lifecycle.plan import Plan, Step, StepKind, keys
from owctl.progress import Receiver

if TYPE_CHECKING:
    from owctl.engine.connection import Engine

_AGAIN = "owctl clean, which goes on with what is left"
_REMOVALS: dict[StepKind, Kind] = {
    "remove": "container",
    "remove-network": "network",
    "remove-volume": "volume",
    "remove-image": "image",
}


@dataclass(frozen=True, slots=True)
class PreparedClean:
    """The list that is shown, and the plan that was made from it."""

    listing: Listing
    plan: Plan
    options: CleanOptions

    def more_than(self, shown: "PreparedClean") -> list[str]:
        """Return the names of what goes now, and was not in an earlier list."""
        before = {(item.kind, item.name) for item in shown.listing.items}
        return [item.name for item in self.listing.items if (item.kind, item.name) not in before]


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What was removed, and what stayed although it was in the list, and why."""

    removed: tuple[Item, ...]
    kept: tuple[Kept, ...]


def prepare_clean(engine: "Engine", stack: Stack, options: CleanOptions) -> PreparedClean:
    """Return what would be removed; changes nothing. Raises the engine's errors."""
    listing = list_project(engine, stack, options)
    return PreparedClean(listing, plan_clean(stack, listing), options)


def plan_clean(stack: Stack, listing: Listing) -> Plan:
    """Return the steps: dependants stop first, and each kind goes after the one before it."""
    order = list(stack.services)
    containers = sorted(
        listing.of("container"),
        key=lambda item: order.index(item.service) if item.service in order else len(order),
        reverse=True,
    )
    stops = {item.id: _step("stop", item) for item in containers if item.needs_stop}
    steps: list[Step] = []
    for item in containers:
        dependants = [
            stops[other.id]
            for other in containers
            if other.id in stops and stack.depends(other.service, item.service)
        ]
        mine = [_step("stop", item, keys(dependants))] if item.id in stops else []
        steps += [*mine, _step("remove", item, keys(mine))]
    kinds: tuple[tuple[StepKind, Kind], ...] = (
        ("remove-network", "network"),
        ("remove-volume", "volume"),
        ("remove-image", "image"),
    )
    for step_kind, kind in kinds:
        before = keys(step for step in steps if step.kind in _REMOVALS)
        steps += [_step(step_kind, item, before) for item in listing.of(kind)]
    return Plan(tuple(steps))


def run_clean(
    engine: "Engine", stack: Stack, prepared: PreparedClean, receiver: Receiver
) -> Cleaned:
    """Remove what was listed; returns what went.

    Raises the OwctlError of the first removal that failed, or Interrupted; both tell what went and
    what is left. Called again, it goes on.
    """
    run = _Run(engine, stack, prepared)
    announce(prepared.plan, receiver)
    try:
        execute(prepared.plan, run.perform, receiver)
    except (KeyboardInterrupt, Interrupted) as error:
        raise Interrupted(
            "Interrupted; not everything is removed.", hint=_AGAIN, details=run.account()
        ) from error
    except OwctlError as error:
        error.details = (*error.details, *run.account())
        error.hint = f"{error.hint}; then {_AGAIN}" if error.hint else _AGAIN
        raise
    return Cleaned(tuple(run.removed()), tuple(run.kept))


class _Run:
    """Carries the steps out and remembers which are done."""

    def __init__(self, engine: "Engine", stack: Stack, prepared: PreparedClean) -> None:
        self.engine = engine
        self.stack = stack
        self.listing = prepared.listing
        self.with_volumes = prepared.options.volumes
        self.done: set[tuple[Kind, str]] = set()
        self.kept: list[Kept] = []

    def perform(self, step: Step, cancel: threading.Event, report: Report) -> str:
        """Carry out one step; raises OwctlError."""
        if step.kind == "stop":
            return self._stop(step)
        kind = _REMOVALS[step.kind]
        try:
            self._remove(kind, step.container_id or "", step.name or "")
        except EngineError as error:
            # A network or an image that somebody took into use meanwhile is theirs; data is asked for.
            if kind not in ("network", "image"):
                raise
            self.kept.append(Kept(kind, step.name or "", error.message))
            return f"kept: {error.message}"
        self.done.add((kind, step.name or ""))
        return "removed"

    def removed(self) -> list[Item]:
        """Return the items that are gone."""
        return [item for item in self.listing.items if (item.kind, item.name) in self.done]

    def account(self) -> list[str]:
        """Return what went and what is left, as lines."""
        left = [i for i in self.listing.items if (i.kind, i.name) not in self.done]
        return [*_lines("removed", self.removed()), *_lines("left", left)]

    def _stop(self, step: Step) -> str:
        from owctl.engine.containers import stop_container
        from owctl.errors import NotFound

        assert step.container_id is not None
        service = self.stack.services.get(step.service or "")
        try:
            stop_container(self.engine, step.container_id, grace_seconds(service))
        except NotFound:
            return "gone already"
        return "stopped"

    def _remove(self, kind: Kind, identity: str, name: str) -> None:
        from owctl.engine.containers import remove_container
        from owctl.engine.images import remove_image
        from owctl.engine.networks import remove_network
        from owctl.engine.volumes import remove_volume

        if kind == "container":
            remove_container(self.engine, identity, force=True, volumes=self.with_volumes)
        elif kind == "network":
            remove_network(self.engine, identity, name)
        elif kind == "volume":
            remove_volume(self.engine, name)
        else:
            remove_image(self.engine, name)


def _step(kind: StepKind, item: Item, requires: frozenset[str] = frozenset()) -> Step:
    return Step(
        kind=kind,
        subject=item.name,
        service=item.service or None,
        name=item.name,
        container_id=item.id,
        requires=requires,
    )


def _lines(word: str, items: Sequence[Item]) -> list[str]:
    kinds: tuple[Kind, ...] = ("container", "network", "volume", "image")
    return [
        f"{word}: {kind}{'s' if len(names) > 1 else ''} {', '.join(names)}"
        for kind in kinds
        if (names := [item.name for item in items if item.kind == kind])
    ]
