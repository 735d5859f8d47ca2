"""Containers that stand still for a while: the steps that stop them, and those that start them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from owctl.compose.model import Stack
from owctl.lifecycle.observed import Observed
from owctl.lifecycle.plan import Plan, Step, StepKind, keys
from owctl.lifecycle.reach_plan import reach_steps

if TYPE_CHECKING:
    from owctl.engine.containers import Container


def plan_halt(stack: Stack, containers: Sequence["Container"]) -> Plan:
    """Return the steps that stop containers and keep them, what depends on others first."""
    steps: list[Step] = []
    stops = {container.id: _step("stop", container) for container in containers}
    # A dependency comes after all that depends on it, so that the steps can be run one by one.
    for container in sorted(containers, key=lambda each: -_depth(stack, each.service)):
        above = [c for c in containers if _depends(stack, c.service, container.service)]
        steps.append(_step("stop", container, keys(stops[each.id] for each in above)))
    return Plan(tuple(steps))


def plan_resume(stack: Stack, observed: Observed, containers: Sequence["Container"]) -> Plan:
    """Return the steps that start containers as they are, and wait until their services answer.

    One starts after those of the others that it depends on are ready. A web server that went on
    meanwhile is asked through, as their addresses may have changed.
    """
    names = {container.service for container in containers}
    steps: list[Step] = []
    for name in sorted(names & stack.services.keys(), key=lambda each: _depth(stack, each)):
        gate = frozenset(
            Step(kind="ready", subject=edge.service).key
            for edge in stack.services[name].depends_on
            if edge.service in names
        )
        mine = [_step("start", each, gate) for each in containers if each.service == name]
        steps += mine
        steps.append(Step(kind="ready", subject=name, service=name, requires=keys(mine) | gate))
    return Plan((*steps, *reach_steps(stack, observed, steps)))


def _depth(stack: Stack, name: str) -> int:
    """Return how many services a service stands above; 0 for one that depends on nobody."""
    service = stack.services.get(name)
    edges = service.depends_on if service is not None else ()
    return max((1 + _depth(stack, edge.service) for edge in edges), default=0)


def _depends(stack: Stack, dependant: str, dependency: str) -> bool:
    service = stack.services.get(dependant)
    return service is not None and any(e.service == dependency for e in service.depends_on)


def _step(kind: StepKind, container: "Container", requires: frozenset[str] = frozenset()) -> Step:
    return Step(
        kind=kind,
        subject=container.service,
        service=container.service,
        number=container.number,
        name=container.name,
        container_id=container.id,
        requires=requires,
    )
