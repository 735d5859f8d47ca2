"""The order in which services depend on each other."""

from collections.abc import Mapping, Sequence

from owctl.compose.model import Stack


def dependencies(stack: Stack) -> dict[str, tuple[str, ...]]:
    """Return for each service the services of the stack that it depends on."""
    return {
        name: tuple(d.service for d in service.depends_on if d.service in stack.services)
        for name, service in stack.services.items()
    }


def dependents(stack: Stack) -> dict[str, tuple[str, ...]]:
    """Return for each service the services that depend on it."""
    edges = dependencies(stack)
    return {
        name: tuple(other for other, needs in edges.items() if name in needs)
        for name in stack.services
    }


def start_levels(stack: Stack) -> tuple[tuple[str, ...], ...]:
    """Return the services in levels: each depends on services of earlier levels only."""
    edges = dependencies(stack)
    levels: dict[str, int] = {}
    for name in dependency_order(stack):
        levels[name] = 1 + max((levels[other] for other in edges[name]), default=-1)
    count = 1 + max(levels.values(), default=-1)
    return tuple(tuple(name for name in edges if levels[name] == level) for level in range(count))


def dependency_order(stack: Stack) -> tuple[str, ...]:
    """Return the services so that each comes after what it depends on, else in file order."""
    edges = dependencies(stack)
    ordered: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in ordered:
            for other in edges[name]:
                visit(other)
            ordered[name] = None

    for name in edges:
        visit(name)
    return tuple(ordered)


def find_cycle(edges: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return services that depend on each other in a circle (the first one again at the end)."""
    done: set[str] = set()
    trail: list[str] = []

    def visit(name: str) -> tuple[str, ...]:
        if name in trail:
            return (*trail[trail.index(name) :], name)
        if name in done:
            return ()
        trail.append(name)
        for other in edges.get(name, ()):
            cycle = visit(other)
            if cycle:
                return cycle
        done.add(trail.pop())
        return ()

    return next((cycle for name in edges if (cycle := visit(name))), ())
