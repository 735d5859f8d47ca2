"""Plans that stop: the whole stack or a part of it, and a standstill of services for a while."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from owctl.compose.model import Stack
from owctl.lifecycle.observed import Observed
from owctl.lifecycle.plan import Plan, Step, StepKind, keys
from owctl.lifecycle.proxy import reach_steps

if TYPE_CHECKING:
    from owctl.engine.containers import Container


# -- What exists → the steps that `stop` and `restart` take.

AT_WORK = ("running", "restarting", "paused")


def plan_stop(
    stack: Stack, observed: Observed, names: Sequence[str], *, orphans: bool = False
) -> Plan:
    """Return the steps that stop and remove the named services' containers.

    Dependants stop before what they depend on. With every service named, those go, too, that a
    profile had started, and the networks, unless containers that stay still use them. A container
    with data in itself, or in a volume without a name, stays, stopped: nobody else knows of that.
    """
    chosen = [
        container
        for container in (*observed.containers, *observed.successors)
        if container.service in names
    ]
    if orphans:
        chosen += [c for c in observed.orphans if c not in chosen]
    whole = set(names) >= set(stack.services)
    chosen += observed.inactive if whole else ()
    kept = [
        container for container in chosen if container.unnamed_volumes or container.own_data_folder
    ]
    chosen = [c for c in chosen if c not in kept or may_run(c)]
    stops = {container.id: _step("stop", container) for container in chosen}
    steps: list[Step] = []
    for container in chosen:
        dependants = [c for c in chosen if stack.depends(c.service, container.service)]
        requires = keys(stops[dependant.id] for dependant in dependants)
        steps.append(_step("stop", container, requires))
        end = _step("remove", container, keys([stops[container.id]]))
        if container in kept:
            end = replace(end, kind="keep", reason=f"its data is in {in_words(container)}")
        steps.append(end)
    staying = [c for c in observed.orphans if not orphans] + kept
    if whole and not staying:
        steps += _network_steps(stack, observed, keys(s for s in steps if s.kind == "remove"))
    return Plan(_ordered(steps))


def may_run(container: "Container") -> bool:
    """Return whether a container runs, or would after the engine's next start."""
    return container.state in AT_WORK or container.restart_policy == "always"


def in_words(container: "Container") -> str:
    """Return where a container's data is that nobody else knows of, in a sentence."""
    if container.own_data_folder:
        return "the container itself"
    names = [name[:12] for name in dict.fromkeys(container.unnamed_volumes.values())]
    return f"the unnamed volume{'s' if len(names) > 1 else ''} {', '.join(names)}"


def plan_restart(stack: Stack, observed: Observed, names: Sequence[str]) -> Plan:
    """Return the steps that restart the named services' containers and wait for them.

    A service restarts after those of the named ones that it depends on are ready again; one that
    says ``restart: true`` of a named one restarts with it.
    """
    steps: list[Step] = []
    names = _with_dependants(stack, observed, names)
    for name in names:
        gate = frozenset(
            Step(kind="ready", subject=edge.service).key
            for edge in stack.services[name].depends_on
            if edge.service in names
        )
        mine = [_step("restart", c, gate) for c in observed.of(name)]
        steps += mine
        steps.append(Step(kind="ready", subject=name, service=name, requires=keys(mine) | gate))
    return Plan((*steps, *reach_steps(stack, observed, steps)))


def _with_dependants(stack: Stack, observed: Observed, names: Sequence[str]) -> list[str]:
    chosen = set(names)
    # In dependency order, so that one pass finds chains, too.
    for name, service in stack.services.items():
        follows = any(edge.restart and edge.service in chosen for edge in service.depends_on)
        if follows and observed.of(name):
            chosen.add(name)
    return [name for name in stack.services if name in chosen]


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


def _network_steps(stack: Stack, observed: Observed, after: frozenset[str]) -> list[Step]:
    return [
        Step(kind="remove-network", subject=key, name=network.name, requires=after)
        for key, network in stack.networks.items()
        if not network.external and network.name in observed.networks
    ]


def _ordered(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps so that each comes after what it requires."""
    remaining, done, result = list(steps), set[str](), list[Step]()
    while remaining:
        step = next(s for s in remaining if s.requires <= done)
        remaining.remove(step)
        done.add(step.key)
        result.append(step)
    return tuple(result)


# -- Containers that stand still for a while: the steps that stop them, and those that start them.


def plan_halt(stack: Stack, containers: Sequence["Container"]) -> Plan:
    """Return the steps that stop containers and keep them, what depends on others first."""
    steps: list[Step] = []
    stops = {container.id: _step("stop", container) for container in containers}
    # A dependency comes after all that depends on it, so that the steps can be run one by one.
    for container in sorted(containers, key=lambda each: -_depth(stack, each.service)):
        above = [c for c in containers if stack.depends(c.service, container.service)]
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
