"""A compose file's values with the place that each came from."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from owctl.errors import Problem


@dataclass(frozen=True, slots=True)
class Timestamp:
    """An unquoted date: ``text`` is how compose puts it into a variable, ``json`` into JSON."""

    text: str
    json: str


Scalar: TypeAlias = str | int | float | bool | Timestamp | None
Value: TypeAlias = "Scalar | dict[str, Node] | list[Node]"
# A checked value, as JSON has it.
Plain: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Node:
    """A value, and the file and line to name when it is wrong.

    The line is the key's for what has a key, else the value's own; it counts from 1. ``merge`` is
    what the tags ``!reset`` and ``!override`` ask for when files are merged.
    """

    value: Value
    file: str
    line: int
    merge: Literal["", "reset", "override"] = ""

    def problem(self, message: str) -> Problem:
        """Return a problem at this place."""
        return Problem(self.file, self.line, message)

    def with_value(self, value: Value) -> "Node":
        """Return the same place with another value."""
        return replace(self, value=value)

    def get(self, key: str) -> "Node | None":
        """Return the entry ``key`` if this is a mapping that has it."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def entries(self) -> Iterator[tuple[str, "Node"]]:
        """Yield a mapping's entries; nothing for other values."""
        if isinstance(self.value, dict):
            yield from self.value.items()


def plain(node: Node) -> Plain:
    """Return a node's value without places."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value.json if isinstance(node.value, Timestamp) else node.value


class Invalid(Exception):
    """A value is wrong; whoever walks the document records it and goes on."""

    def __init__(self, node: Node, message: str) -> None:
        super().__init__(message)
        self.problem = node.problem(message)


def kind_of(value: Value) -> str:
    """Return what a value is, in words for a message."""
    if value is None:
        return "empty"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, Timestamp):
        return "a date (put it in quotes)"
    return "text" if isinstance(value, str) else "a number"
