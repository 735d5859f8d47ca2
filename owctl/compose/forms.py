"""Brings the list and map forms of a compose file into one form each, before files are merged."""

from collections.abc import Callable
from dataclasses import replace

from owctl.compose.document import Node

Form = Callable[[Node], Node]


def canonical(document: Node) -> Node:
    """Return the document in canonical form. What is of a wrong type is left for validation."""
    value = document.value
    if not isinstance(value, dict):
        return document
    result = dict(value)
    for section, form in (
        ("services", lambda node: _apply(node, _SERVICE)),
        ("networks", lambda node: _apply(node, {"labels": _key_values})),
        ("volumes", lambda node: _apply(node, {"labels": _key_values})),
        ("secrets", lambda node: _apply(node, {"labels": _key_values})),
        ("configs", lambda node: _apply(node, {"labels": _key_values})),
    ):
        if section in result:
            result[section] = _each(result[section], form)
    return document.with_value(result)


def _each(node: Node, form: Form) -> Node:
    if not isinstance(node.value, dict):
        return node
    return node.with_value({key: form(child) for key, child in node.value.items()})


def _apply(node: Node, forms: dict[str, Form]) -> Node:
    if not isinstance(node.value, dict):
        return node
    return node.with_value(
        {key: forms[key](child) if key in forms else child for key, child in node.value.items()}
    )


def _key_values(node: Node) -> Node:
    """``[A=1, B]`` becomes ``{A: "1", B: null}``."""
    items = _texts(node)
    if items is None:
        return node
    result: dict[str, Node] = {}
    for item, text in items:
        key, equals, value = text.partition("=")
        result[key] = item.with_value(value if equals else None)
    return replace(node, value=result, merge=node.merge or "listed")


def _listed(node: Node) -> Node:
    """``value`` becomes ``[value]``."""
    return (
        node.with_value([Node(node.value, node.file, node.line)])
        if isinstance(node.value, str)
        else node
    )


def _environment_files(node: Node) -> Node:
    """A path, or a list of paths and mappings, becomes a list of mappings."""
    node = _listed(node)
    if not isinstance(node.value, list):
        return node
    return node.with_value(
        [
            item.with_value({"path": Node(item.value, item.file, item.line)})
            if isinstance(item.value, str)
            else item
            for item in node.value
        ]
    )


def _names(node: Node) -> Node:
    """``[front, back]`` becomes ``{front: null, back: null}``."""
    items = _texts(node)
    if items is None:
        return node
    return node.with_value({text: item.with_value(None) for item, text in items})


def _dependencies(node: Node) -> Node:
    """``[db]`` becomes ``{db: {condition: service_started, required: true}}``."""
    items = _texts(node)
    if items is None:
        return node
    return node.with_value(
        {
            text: item.with_value(
                {
                    "condition": item.with_value("service_started"),
                    "required": item.with_value(True),
                }
            )
            for item, text in items
        }
    )


def _hosts(node: Node) -> Node:
    """Both ``{name: address}`` and ``[name:address]`` become ``[name=address]``."""
    if isinstance(node.value, list):
        return node.with_value([_host(item) for item in node.value])
    if not isinstance(node.value, dict):
        return node
    result: list[Node] = []
    for name, child in node.value.items():
        for address in child.value if isinstance(child.value, list) else [child]:
            text = isinstance(address.value, str)
            result.append(address.with_value(f"{name}={address.value}" if text else address.value))
    return node.with_value(result)


def _host(item: Node) -> Node:
    text = item.value
    if not isinstance(text, str) or "=" in text:
        return item
    name, colon, address = text.partition(":")
    return item.with_value(f"{name}={address}") if colon else item


def _build(node: Node) -> Node:
    """``context`` becomes ``{context: …}``."""
    if isinstance(node.value, str):
        return node.with_value({"context": Node(node.value, node.file, node.line)})
    return _apply(node, {"args": _key_values, "labels": _key_values, "extra_hosts": _hosts})


def _watches(node: Node) -> Node:
    if not isinstance(node.value, list):
        return node
    hook = {"exec": lambda child: _apply(child, {"environment": _key_values})}
    return node.with_value([_apply(item, {**hook, "ignore": _listed}) for item in node.value])


def _texts(node: Node) -> list[tuple[Node, str]] | None:
    """Return a list's items with their texts, or None if it is not a list of texts."""
    if not isinstance(node.value, list):
        return None
    items = [(item, item.value) for item in node.value if isinstance(item.value, str)]
    return items if len(items) == len(node.value) else None


_SERVICE: dict[str, Form] = {
    "build": _build,
    "environment": _key_values,
    "env_file": _environment_files,
    "labels": _key_values,
    "annotations": _key_values,
    "sysctls": _key_values,
    "depends_on": _dependencies,
    "networks": _names,
    "extra_hosts": _hosts,
    "dns": _listed,
    "dns_search": _listed,
    "tmpfs": _listed,
    "develop": lambda node: _apply(node, {"watch": _watches}),
    "deploy": lambda node: _apply(node, {"labels": _key_values}),
}
