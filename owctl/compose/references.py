"""What services refer to is there, and the order in which they depend on one another."""

from collections.abc import Mapping, Sequence
from typing import Any

from owctl.compose.document import Node
from owctl.compose.fields import Reference, Scope
from owctl.compose.model import Stack
from owctl.compose.top_level_rules import SECTIONS, target_of

# -- The order in which services depend on each other.


def dependencies(stack: Stack) -> dict[str, tuple[str, ...]]:
    """Return for each service the services of the stack that it depends on."""
    return {
        name: tuple(d.service for d in service.depends_on if d.service in stack.services)
        for name, service in stack.services.items()
    }


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


# -- Checks that what services refer to exists, and leaves out what no active service uses.


Specs = Mapping[str, dict[str, Any]]


def check_resources(
    references: list[Reference], defined: Mapping[str, Specs], scope: Scope
) -> None:
    """Record every network and volume that a service names and no file defines."""
    for reference in references:
        if reference.name in defined[reference.section] or (
            reference.section == "networks" and reference.name == "default"
        ):
            continue
        what = reference.section.removesuffix("s")
        scope.problems.append(
            reference.node.problem(
                f"{reference.path} names the {what} {reference.name}, which is not defined under "
                f"{reference.section}{_guess(reference.name, defined[reference.section])}"
            )
        )


def check_dependencies(
    services: Mapping[str, Node], specs: Specs, active: frozenset[str], scope: Scope
) -> None:
    """Record dependencies of active services that do not exist, are inactive or go in a circle."""
    for name in active:
        needs: dict[str, Any] = specs[name].get("depends_on", {})
        for other in needs:
            sentence = f"services.{name} depends on {other},"
            if other not in services:
                guess = _guess(other, services)
                _problem(services, name, other, f"{sentence} which is not a service{guess}", scope)
            elif other not in active and needs[other]["required"]:
                message = f"{sentence} which belongs to a profile that is not active"
                _problem(services, name, other, message, scope)
    edges = {name: tuple(specs[name].get("depends_on", {})) for name in specs if name in active}
    cycle = find_cycle(edges)
    if cycle:
        message = f"services depend on each other in a circle: {' → '.join(cycle)}"
        _problem(services, cycle[0], cycle[1], message, scope)


def check_names(
    services: Mapping[str, Node], specs: Specs, active: frozenset[str], scope: Scope
) -> None:
    """Record containers that would have the same name."""
    taken: dict[str, str] = {}
    for name in (name for name in specs if name in active):
        wanted = specs[name].get("container_name")
        if wanted and taken.setdefault(wanted, name) != name:
            place = services[name].get("container_name") or services[name]
            sentence = f"services.{name}.container_name is {wanted}, as that of {taken[wanted]}"
            scope.problems.append(place.problem(sentence))


def used(specs: Specs, section: str) -> frozenset[str]:
    """Return the keys of the networks or volumes that these services use."""
    keys: set[str] = set()
    for spec in specs.values():
        if section == "networks":
            keys |= set(spec.get("networks", {}))
        elif section in SECTIONS:
            keys |= {grant["source"] for grant in spec.get(section, ())}
        else:
            keys |= {m["source"] for m in spec.get("volumes", ()) if _is_named_volume(m)}
    return frozenset(keys)


def check_files(
    services: Mapping[str, Node],
    specs: Specs,
    active: frozenset[str],
    defined: Mapping[str, Specs],
    scope: Scope,
) -> None:
    """Record secrets and configs that have no content, or could not be written or seen."""
    for name in (name for name in specs if name in active):
        for section in SECTIONS:
            for grant in specs[name].get(section, ()):
                source = defined[section].get(grant["source"], {"file": ""})
                place = services[name].get(section) or services[name]
                message = _why_unwritable(source, target_of(section, grant), specs[name], scope)
                if message:
                    sentence = f"services.{name}.{section}: {grant['source']} {message}"
                    scope.problems.append(place.problem(sentence))
                if "file" in source and {"uid", "gid", "mode"} & set(grant):
                    scope.warn(
                        f"services.{name}.{section}: uid, gid and mode have no effect on "
                        f"{grant['source']}, which is a file of this machine."
                    )


def _why_unwritable(
    source: Mapping[str, Any], target: str, spec: Mapping[str, Any], scope: Scope
) -> str | None:
    if "file" in source:
        return None
    variable = source.get("environment")
    if variable and variable not in scope.variables:
        return f"comes from the variable {variable}, which is not set"
    if spec.get("read_only"):
        return "cannot be written, because the service is read_only; use file: … for its source"
    hidden = [entry.partition(":")[0].rstrip("/") for entry in spec.get("tmpfs", ())]
    hidden += [mount["target"] for mount in spec.get("volumes", ()) if mount["type"] == "tmpfs"]
    over = next((folder for folder in hidden if target.startswith(f"{folder}/")), None)
    return f"would be hidden by the tmpfs at {over}; use file: … for its source" if over else None


def _is_named_volume(mount: Mapping[str, Any]) -> bool:
    return mount["type"] == "volume" and bool(mount.get("source"))


def _problem(
    services: Mapping[str, Node], name: str, other: str, message: str, scope: Scope
) -> None:
    service = services[name]
    needs = service.get("depends_on")
    place = (needs.get(other) if needs else None) or needs or service
    scope.problems.append(place.problem(message))


def _guess(name: str, known: Mapping[str, Any]) -> str:
    import difflib

    matches = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {matches[0]}?" if matches else ""
