"""What a compose document is made of: nodes that know their lines, and texts that are sizes and durations."""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from owctl.errors import Problem

# -- A compose file's values with the place that each came from.


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
    what the tags ``!reset`` and ``!override`` ask for when files are merged; "listed" is a mapping
    that was written as a list, or merged with one: no ``!reset`` reaches into it.
    """

    value: Value
    file: str
    line: int
    merge: Literal["", "reset", "override", "listed"] = ""

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


# -- Command lines, split into words as compose splits them (go-shellwords, which is no shell).


# What opens an expression, and within which others it is a character as any other.
_ORDINARY_WITHIN: Mapping[str, frozenset[str]] = {
    '"': frozenset("'("),
    "'": frozenset('"('),
    "`": frozenset("'\"("),
    "(": frozenset("'\"`"),
    ")": frozenset("'\"`"),
}


class _Words:
    """The words so far; ``open`` holds what is not closed yet, ``(`` standing for ``$(…)``."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.word: str | None = None  # none has begun
        self.open: set[str] = set()
        self.escaped = False

    def take(self, char: str) -> bool:
        """Go on by one character; False if the command ends before it."""
        if self.escaped or (char == "\\" and "'" not in self.open):
            self._add(char if self.escaped else "")
            self.escaped = not self.escaped
        elif char in " \t\r\n" and not self.open:
            self.end()
        elif char in ";&|<>" and not self.open:
            if char == ">" and self.word and self.word[0] in "0123456789":
                self.word = None  # as in 2>file
            return False
        else:
            self._quote_or_add(char)
        return True

    def end(self) -> None:
        """End the word that has begun, if one has."""
        if self.word is not None:
            self.found.append(self.word)
        self.word = None

    def _quote_or_add(self, char: str) -> None:
        if char in _ORDINARY_WITHIN and not self.open & _ORDINARY_WITHIN[char]:
            if char == "(" and ("(" in self.open or not (self.word or "").endswith("$")):
                raise ValueError("( stands outside quotes")
            self.open ^= {"("} if char == ")" else {char}
            char = "" if char in "\"'" else char
        self._add(char)

    def _add(self, text: str) -> None:
        self.word = (self.word or "") + text


def split_command(text: str) -> tuple[list[str], str]:
    """Return the words of a command line, and the operator that ended it before its end ("": none).

    An unquoted ``; & | < >`` ends the command, also inside a word; a backslash makes the next
    character a plain one, also in double quotes; ``$(…)`` and backticks are kept as they are. Raises
    ValueError for what compose refuses.
    """
    words = _Words()
    operator = next((char for char in text if not words.take(char)), "")
    if words.open or words.escaped:
        raise ValueError("a quote, a bracket or a backslash at the end is not closed")
    words.end()
    return words.found, operator


# -- Durations, sizes and numbers as compose files write them, and as compose prints them.


_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_NANOSECONDS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9,
    "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_SIZE = re.compile(r"(\d+(?:\.\d+)*) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_SIZE_STEPS = " kmgtp"


def parse_duration(text: str) -> int:
    """Return the nanoseconds of ``1m30s``, ``500ms`` and the like; raises ValueError."""
    if text == "0":
        return 0
    total = 0.0
    position = 0
    while position < len(text):
        part = _DURATION_PART.match(text, position)
        if part is None:
            raise ValueError(text)
        total += float(part.group(1)) * _NANOSECONDS[part.group(2)]
        position = part.end()
    if not text:
        raise ValueError(text)
    return round(total)


def format_duration(nanoseconds: int) -> str:
    """Return a duration as Go prints it: ``1m30s``, ``500ms``."""
    if nanoseconds == 0:
        return "0s"
    if nanoseconds < 10**9:
        for unit, size in (("ms", 10**6), ("µs", 10**3), ("ns", 1)):
            if nanoseconds >= size:
                return _decimal(nanoseconds, size) + unit
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if hours or minutes else ""
    return text + _decimal(rest, 10**9) + "s"


def duration_seconds(text: str) -> float:
    """Return the seconds of a duration that has been validated."""
    return parse_duration(text) / 10**9


def _decimal(value: int, size: int) -> str:
    whole, fraction = divmod(value, size)
    digits = str(fraction).rjust(len(str(size)) - 1, "0").rstrip("0") if fraction else ""
    return f"{whole}.{digits}" if digits else str(whole)


def parse_size(text: str) -> int:
    """Return the bytes of ``512m``, ``1.5g`` and the like (powers of 1024); raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    return int(float(match.group(1)) * 1024 ** _SIZE_STEPS.index(match.group(2).lower() or " "))


def single_precision(number: float) -> float | int:
    """Return the shortest number with the same 32-bit float: compose keeps processors as such."""
    (stored,) = struct.unpack("f", struct.pack("f", number))
    for digits in range(1, 10):
        candidate = float(f"{stored:.{digits}g}")
        if struct.unpack("f", struct.pack("f", candidate))[0] == stored:
            stored = candidate
            break
    return int(stored) if stored == int(stored) else float(stored)


def plain_text(value: str | int | float | bool) -> str:
    """Return a scalar as compose puts it into an environment: ``true``, ``1.5``, ``1e+06``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return format_float(value) if isinstance(value, float) else str(value)


def format_float(value: float) -> str:
    """Return a float as Go prints it: ``1.5``, ``999999``, and from a million on ``1e+06``."""
    mantissa, _, exponent_text = f"{value!r}".partition("e")
    if not re.fullmatch(r"-?\d+(\.\d+)?", mantissa):
        return {"inf": "+Inf", "-inf": "-Inf"}.get(mantissa, "NaN")
    # The shortest digits that mean this number, as one digit with an exponent.
    sign, digits, exponent = _scientific(mantissa, int(exponent_text or 0))
    if not -4 <= exponent < 6:
        fraction = f".{digits[1:]}" if digits[1:] else ""
        return f"{sign}{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole, fraction = digits[: exponent + 1].ljust(exponent + 1, "0"), digits[exponent + 1 :]
    return f"{sign}{whole}.{fraction}" if fraction else sign + whole


def _scientific(mantissa: str, exponent: int) -> tuple[str, str, int]:
    """Return sign, digits and the power of ten of the first digit."""
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.removeprefix("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    if not digits.strip("0"):
        return sign, "0", 0
    first = len(whole) - 1 - (len(whole + fraction) - len(digits))
    return sign, digits.rstrip("0"), exponent + first
