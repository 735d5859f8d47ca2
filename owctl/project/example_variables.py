"""The variables that an example ``.env`` explains, also those that stand in a comment."""

import re
from dataclasses import dataclass

_VARIABLE = re.compile(
    r"^[ \t]*(?P<off>#[ \t]*)?(?:export[ \t]+)?(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)$"
)
_HEADING = re.compile(r"^# ---")


@dataclass(frozen=True, slots=True)
class ExampleVariable:
    """A variable of the example: its line, and the comment above it. ``value`` None: switched off."""

    name: str
    line: str
    comment: tuple[str, ...]
    value: str | None


def variables_of(text: str) -> dict[str, ExampleVariable]:
    """Return the variables of an example, by name, in their order."""
    found: dict[str, ExampleVariable] = {}
    comment: list[str] = []
    for line in text.splitlines():
        match = _VARIABLE.match(line)
        if match is not None:
            value = None if match["off"] else match["value"]
            found[match["name"]] = ExampleVariable(match["name"], line, tuple(comment), value)
            comment = []
        elif line.startswith("#") and not _HEADING.match(line):
            comment.append(line)
        else:
            comment = []
    return found


def mentioned(text: str) -> set[str]:
    """Return the names that stand in an ``.env``, set or in a comment."""
    return {match["name"] for line in text.splitlines() if (match := _VARIABLE.match(line))}


def lines_that_set(text: str) -> dict[str, tuple[int, str]]:
    """Return, by name, the number (from 1) and the value of the line that sets a variable last."""
    found: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _VARIABLE.match(line)
        if match is not None and not match["off"]:
            found[match["name"]] = (number, match["value"])
    return found
