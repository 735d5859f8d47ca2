"""Settings that say the same thing in two places must not contradict each other."""

from typing import Any

from owctl.compose.document import Node
from owctl.compose.fields import Scope

# The service's key, and where the same is said under ``deploy``.
_TWICE = (
    ("cpus", ("resources", "limits", "cpus")),
    ("mem_limit", ("resources", "limits", "memory")),
    ("pids_limit", ("resources", "limits", "pids")),
    ("mem_reservation", ("resources", "reservations", "memory")),
)


def check_consistency(node: Node, path: str, given: dict[str, Any], scope: Scope) -> None:
    """Refuse what compose refuses: contradictions, and several containers of one name.

    A ``scale`` is added to ``deploy`` where that does not say how many, as compose does.
    """
    deploy = given.get("deploy", {})
    for key, place in _TWICE:
        section = deploy.get(place[0], {}).get(place[1])
        # A section that leaves it out says 0 there.
        if _amount(given.get(key)) and section is not None:
            _compare(node, path, key, place, given[key], section.get(place[2]), scope)
    if "scale" in given and "deploy" in given:
        replicas = deploy.get("replicas", given["scale"])
        _compare(node, path, "scale", ("replicas",), given["scale"], replicas, scope)
        order = ("mode", "replicas")
        rest = {name: value for name, value in deploy.items() if name not in order}
        first = {name: deploy[name] for name in order[:1] if name in deploy}
        given["deploy"] = {**first, "replicas": replicas, **rest}
    count = deploy.get("replicas", given.get("scale"))
    if "container_name" in given and (count or 1) > 1:
        place_of_name = node.get("container_name") or node
        message = f"{path}.container_name allows one container, but {count} are wanted"
        scope.problems.append(place_of_name.problem(message))


def _compare(
    node: Node,
    path: str,
    key: str,
    place: tuple[str, ...],
    one: object,
    other: object,
    scope: Scope,
) -> None:
    if one != other:
        where = ".".join(("deploy", *place))
        wrong = node.get(key) or node
        scope.problems.append(
            wrong.problem(
                f"{path} has different values in {key} and {where}; set both alike, or only {where}"
            )
        )


def _amount(value: object) -> bool:
    return value not in (None, 0, "0")
