"""Reads one YAML file into nodes with lines, refusing what could be misread or could explode."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal, TypeAlias

from owctl.compose.document import Node, Scalar, Timestamp
from owctl.environment.dotenv import display_path
from owctl.errors import Problem

MAX_FILE_BYTES = 4 * 1024 * 1024
# A few aliases of aliases can stand for billions of values; a real stack has some hundreds.
MAX_VALUES = 200_000
MAX_DEPTH = 60

# PyYAML's events and errors: their attributes depend on their kind.
Event: TypeAlias = Any

_STANDARD_TAG = "tag:yaml.org,2002:"
_MERGE = _STANDARD_TAG + "merge"
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE = frozenset(("true", "True", "TRUE"))
_FALSE = frozenset(("false", "False", "FALSE"))
_KINDS: Mapping[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "null": (type(None),),
}
# As go-yaml reads numbers: underscores may stand anywhere behind the first character.
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
# Compiled where there is a date: hardly any file has one.
_TIMESTAMP = (
    r"(?P<date>\d{4}-\d{1,2}-\d{1,2})"
    r"(?:(?P<gap>[Tt ])(?P<time>\d{1,2}:\d{1,2}:\d{1,2})(?P<fraction>\.\d+)?"
    r"(?P<zone>Z|[+-]\d\d:\d\d)?)?"
)


class _Unreadable(Exception):
    """Reading cannot go on; the message says why."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def read_yaml(path: Path, problems: list[Problem]) -> Node | None:
    """Return the file's top-level mapping, or None after adding to ``problems`` why there is none.

    Scalars follow YAML 1.2, as compose does: ``yes`` and ``12:30`` are text, ``017`` is octal.
    """
    name = display_path(path)
    try:
        text = _read_text(path)
        document = _Reader(text, name, problems).read()
    except _Unreadable as error:
        problems.append(Problem(name, error.line, str(error)))
        return None
    if not isinstance(document.value, dict):
        problems.append(
            Problem(
                name,
                document.line,
                "is not a compose file: it must begin with keys such as services:",
            )
        )
        return None
    return document


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _Unreadable(0, "is larger than 4 MiB: not a compose file")
        data = path.read_bytes()
    except OSError as error:
        raise _Unreadable(0, f"cannot be read: {(error.strerror or str(error)).lower()}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _Unreadable(line, "is not UTF-8 text") from None
    control = re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text)
    if control:
        line = text.count("\n", 0, control.start()) + 1
        raise _Unreadable(line, f"has the control character {control.group()!r}: not a text file")
    return text


class _Reader:
    """Builds nodes from YAML events: they carry lines, and nothing is expanded twice."""

    def __init__(self, text: str, name: str, problems: list[Problem]) -> None:
        import yaml

        self.yaml = yaml
        self.text = text
        self.name = name
        self.problems = problems
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.open_anchors: set[str] = set()
        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self.loader = loader(text)

    def read(self) -> Node:
        try:
            return self._document()
        except self.yaml.YAMLError as error:
            raise self._syntax_error(error) from None
        finally:
            self.loader.dispose()

    def _document(self) -> Node:
        events = self.yaml.events
        self.loader.get_event()  # the stream's start
        if isinstance(self.loader.peek_event(), events.StreamEndEvent):
            raise _Unreadable(0, "is empty")
        self.loader.get_event()  # the document's start
        root, _ = self._node(self.loader.get_event(), None, 0)
        self.loader.get_event()  # the document's end
        after = self.loader.get_event()
        if not isinstance(after, events.StreamEndEvent):
            raise _Unreadable(
                after.start_mark.line + 1,
                "begins a second YAML document; put it into a file of its own and name both with -f",
            )
        if root.value is None:
            raise _Unreadable(0, "is empty")
        return root

    def _node(self, event: Event, line: int | None, depth: int) -> tuple[Node, int]:
        """Return the node that ``event`` begins and how many values it stands for."""
        own_line = event.start_mark.line + 1
        line = own_line if line is None else line
        if depth > MAX_DEPTH:
            raise _Unreadable(own_line, f"is nested more than {MAX_DEPTH} levels deep")
        anchor = event.anchor
        if isinstance(event, self.yaml.events.AliasEvent):
            return self._alias(str(anchor), line, own_line)
        if anchor:
            self.open_anchors.add(anchor)
        merge = self._merge_tag(event.tag)
        size = 1
        value: Any
        if isinstance(event, self.yaml.events.ScalarEvent):
            value = None if merge == "reset" else self._scalar(event, own_line)
        elif isinstance(event, self.yaml.events.SequenceStartEvent):
            value, size = self._sequence(depth)
        else:
            value, size = self._mapping(depth)
        if size > MAX_VALUES:
            raise _Unreadable(own_line, f"expands to more than {MAX_VALUES} values through aliases")
        node = Node(value, self.name, line, merge)
        if anchor:
            self.open_anchors.discard(anchor)
            self.anchors[anchor] = (node, size)
        return node, size

    def _alias(self, anchor: str, line: int, own_line: int) -> tuple[Node, int]:
        if anchor in self.open_anchors:
            raise _Unreadable(own_line, f"the alias *{anchor} is inside what it stands for")
        if anchor not in self.anchors:
            raise _Unreadable(own_line, f"the alias *{anchor} has no anchor &{anchor} before it")
        target, size = self.anchors[anchor]
        return Node(target.value, self.name, line), size

    def _sequence(self, depth: int) -> tuple[list[Node], int]:
        items: list[Node] = []
        size = 1
        while True:
            event = self.loader.get_event()
            if isinstance(event, self.yaml.events.SequenceEndEvent):
                return items, size
            node, count = self._node(event, None, depth + 1)
            items.append(node)
            size += count

    def _mapping(self, depth: int) -> tuple[dict[str, Node], int]:
        own: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        seen: dict[str, int] = {}
        size = 1
        while True:
            event = self.loader.get_event()
            if isinstance(event, self.yaml.events.MappingEndEvent):
                return own | {k: v for k, v in merged.items() if k not in own}, size
            line = event.start_mark.line + 1
            is_merge = getattr(event, "value", None) == "<<" and (
                event.implicit[0] or event.tag == _MERGE
            )
            key_node, _ = self._node(event, None, depth + 1)
            node, count = self._node(self.loader.get_event(), line, depth + 1)
            size += count
            key = key_node.value
            if not isinstance(key, str):
                self._problem(line, f"the key {_shown(key)} is not text; put it in quotes")
            elif key in seen:
                self._problem(line, f'the key "{key}" is already in line {seen[key]}')
            elif is_merge:
                seen[key] = line
                self._merge_key(node, line, merged)
            else:
                seen[key] = line
                own[key] = node

    def _merge_key(self, node: Node, line: int, merged: dict[str, Node]) -> None:
        sources = node.value if isinstance(node.value, list) else [node]
        for source in sources:
            if not isinstance(source.value, dict):
                self._problem(line, "<<: must be followed by a mapping, or by a list of mappings")
                continue
            for key, value in source.value.items():
                merged.setdefault(key, value)  # of several sources, the first wins

    def _merge_tag(self, tag: str | None) -> Literal["", "reset", "override"]:
        if tag == "!reset":
            return "reset"
        return "override" if tag == "!override" else ""

    def _scalar(self, event: Event, line: int) -> Scalar:
        tag: str | None = event.tag
        text: str = event.value
        if tag in (None, "!", "!override"):
            plain = event.implicit[0] or (tag == "!" and not text and not event.style)
            return _resolve(text) if plain else text
        name = tag.removeprefix(_STANDARD_TAG) if tag else ""
        if name == "str" or tag == _MERGE:
            return text
        if name in _KINDS:
            value = _resolve(text)
            if not isinstance(value, _KINDS[name]) or (name != "bool" and isinstance(value, bool)):
                self._problem(line, f'"{text}" cannot be read as !!{name}')
            return value
        self._problem(line, f"the YAML tag {tag} is not supported")
        return text

    def _syntax_error(self, error: Event) -> _Unreadable:
        lines = self.text.rstrip().split("\n")
        marks = [getattr(error, name, None) for name in ("problem_mark", "context_mark")]
        # What is found out at the file's end began where the context says.
        found = [mark.line + 1 for mark in marks if mark is not None]
        line = next((number for number in found if number <= len(lines)), len(lines))
        row = lines[line - 1] if 0 < line <= len(lines) else ""
        if "\t" in row[: len(row) - len(row.lstrip())]:
            return _Unreadable(line, "is indented with a tab; YAML wants spaces")
        reason = getattr(error, "problem", None) or str(error)
        context = getattr(error, "context", None)
        return _Unreadable(line, f"is not valid YAML: {f'{context}, ' if context else ''}{reason}")

    def _problem(self, line: int, message: str) -> None:
        self.problems.append(Problem(self.name, line, message))


def _resolve(text: str) -> Scalar:
    """Return the value of a plain scalar."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if not (text[0].isdigit() or text[0] in "+-."):
        return text
    digits = text.replace("_", "")
    if _INTEGER.fullmatch(digits):
        number = _integer(digits)
        if -(2**63) <= number < 2**64:
            return number
    if _FLOAT.fullmatch(digits):
        # Also 08, which is no octal number. What is too large for a float is text.
        value = float(digits)
        return text if math.isinf(value) else value
    if _NO_NUMBER.fullmatch(text):
        return float(text.lower().replace(".", ""))
    return (_timestamp(text) or text) if text[4:5] == "-" else text


def _integer(text: str) -> int:
    sign, digits = (-1, text[1:]) if text[0] == "-" else (1, text.lstrip("+"))
    return sign * (int(digits, 8) if digits[1:].isdigit() and digits[0] == "0" else int(digits, 0))


def _timestamp(text: str) -> Timestamp | None:
    """Return the point in time that an unquoted date is to compose, None if it is text."""
    match = re.fullmatch(_TIMESTAMP, text)
    # With T there has to be a zone, with a space there must be none.
    if match is None or (match["gap"] is not None and (match["gap"] == " ") == bool(match["zone"])):
        return None
    parts = [*match["date"].split("-"), *(match["time"] or "0:0:0").split(":")]
    zone = match["zone"] or "Z"
    try:
        moment = datetime(*map(int, parts), tzinfo=_zone(zone))  # type: ignore[misc,arg-type]
    except ValueError:
        return None
    fraction = (match["fraction"] or "")[:10].rstrip("0").rstrip(".")
    clock = f"{moment:%Y-%m-%d}".rjust(10, "0"), f"{moment:%H:%M:%S}{fraction}"
    is_utc = zone == "Z" or zone[1:] == "00:00"
    offset = zone.replace(":", "")
    return Timestamp(
        f"{clock[0]} {clock[1]} " + ("+0000 UTC" if is_utc else f"{offset} {offset}"),
        f"{clock[0]}T{clock[1]}" + ("Z" if is_utc else zone),
    )


def _zone(text: str) -> timezone:
    if text == "Z":
        return UTC
    hours, minutes = int(text[1:3]), int(text[4:])
    if hours > 23 or minutes > 59:
        raise ValueError(text)
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=hours, minutes=minutes))


def _shown(key: object) -> str:
    if key is None:
        return "(nothing)"
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key) if isinstance(key, (int, float)) else "(a list or mapping)"
