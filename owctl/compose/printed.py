"""The resolved stack as a compose file that can be read again."""

from collections.abc import Mapping
from typing import Any

from owctl.compose.document import Plain
from owctl.compose.model import Stack


def printable_spec(stack: Stack) -> dict[str, Any]:
    """Return ``stack.spec`` with dollar signs doubled, as ``docker compose config`` prints it."""
    result: dict[str, Any] = _escaped(stack.spec)
    return result


def _escaped(value: Plain) -> Plain:
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {key: _escaped(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_escaped(child) for child in value]
    return value
