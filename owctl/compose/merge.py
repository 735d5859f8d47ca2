"""Merges several compose files into one document, by compose's rules."""

from collections.abc import Sequence
from functools import reduce

from owctl.compose.document import Node, kind
from owctl.errors import Problem

# Below services.<name>: what a later file gives replaces what an earlier one gave.
_REPLACED = (("command",), ("entrypoint",), ("healthcheck", "test"))


def merge_documents(documents: Sequence[Node], problems: list[Problem]) -> Node:
    """Return one document; later ones win. Adds to ``problems`` what cannot be merged.

    The documents are in canonical form (``owctl.compose.forms``). Mappings are merged, lists are
    appended (doubles are removed when the lists are validated), anything else is replaced.
    """
    merged = reduce(lambda base, over: _merge(base, over, (), problems), documents)
    return _without_resets(merged)


def _merge(base: Node, over: Node, path: tuple[str, ...], problems: list[Problem]) -> Node:
    if over.merge == "override" or _is_replaced(path):
        return over
    if over.value is None and isinstance(base.value, (dict, list)):
        return base
    if base.value is None or (over.value is None and path):
        return over
    if isinstance(base.value, dict) and isinstance(over.value, dict):
        if _is_other_log_driver(base, over, path):
            return over
        return _merge_mappings(base, over, path, problems)
    if isinstance(base.value, list) and isinstance(over.value, list):
        return over.with_value([*base.value, *over.value])
    if isinstance(base.value, (dict, list)) or isinstance(over.value, (dict, list)):
        if path[:1] == ("services",) and path[2:3] == ("ulimits",):
            return over
        problems.append(
            over.problem(
                f"{'.'.join(path)} is {kind(over.value)} here, but {kind(base.value)} "
                f"in {base.file}:{base.line}: the two cannot be merged"
            )
        )
        return base
    return over


def _merge_mappings(base: Node, over: Node, path: tuple[str, ...], problems: list[Problem]) -> Node:
    result: dict[str, Node] = dict(base.entries())
    for key, node in over.entries():
        if node.merge == "reset":
            result.pop(key, None)
        elif key not in result or key.startswith("x-"):
            result[key] = node
        else:
            result[key] = _merge(result[key], node, (*path, key), problems)
    return base.with_value(result)


def _is_replaced(path: tuple[str, ...]) -> bool:
    return path[:1] == ("services",) and path[2:] in _REPLACED


def _is_other_log_driver(base: Node, over: Node, path: tuple[str, ...]) -> bool:
    """Options of one log driver mean nothing to another, so they are not kept."""
    if path[:1] != ("services",) or path[2:] != ("logging",):
        return False
    before, after = base.get("driver"), over.get("driver")
    return before is not None and after is not None and before.value != after.value


def _without_resets(node: Node) -> Node:
    if isinstance(node.value, dict):
        return node.with_value(
            {k: _without_resets(v) for k, v in node.value.items() if v.merge != "reset"}
        )
    if isinstance(node.value, list):
        return node.with_value([_without_resets(v) for v in node.value if v.merge != "reset"])
    return node
