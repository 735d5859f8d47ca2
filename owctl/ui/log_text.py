"""Log lines as bytes for stdout: with prefix and time, or as JSON lines; secrets masked."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from owctl.ui.log_colors import paint, printable, service_color


class Origin(Protocol):
    """Where a line is from."""

    @property
    def label(self) -> str:
        """What a reader calls the container."""

    @property
    def service(self) -> str:
        """The service."""

    @property
    def container(self) -> str:
        """The container's name."""


Mask = Callable[[bytes], bytes]
# Stamp, origin, stream, text with its newline.
Line = tuple[bytes, Origin, str, bytes]


@dataclass(slots=True)
class TextFormat:
    """``service  | message``: the form for people.

    ``colors`` maps a service to its SGR code, empty for none. ``terminal`` takes control
    sequences out of the messages. ``width`` is that of the longest label so far.
    """

    prefixed: bool = True
    timestamps: bool = False
    colors: Mapping[str, str] = field(default_factory=dict)
    terminal: bool = False
    width: int = 0
    mask: Mask | None = None
    pattern: re.Pattern[bytes] | None = None
    _services: dict[str, str] = field(default_factory=dict)
    _prefixes: dict[str, bytes] = field(default_factory=dict)

    def render(self, lines: Sequence[Line]) -> bytes:
        """Return what to write for the lines."""
        if self.pattern is not None:
            lines = list(_matching(lines, self.mask, self.pattern))
        if self.terminal:
            colors = bool(self.colors)
            lines = [(a, b, c, printable(text, colors=colors)) for a, b, c, text in lines]
        prefixes = self._prefixes_of(lines)
        if self.timestamps:
            output = b"".join(
                [prefixes[source.label] + stamp + b" " + text for stamp, source, _, text in lines]
            )
        else:
            output = b"".join([prefixes[source.label] + text for _, source, _, text in lines])
        # All at once: one pass over a block is many times faster than one for each line.
        return self.mask(output) if self.mask is not None and self.pattern is None else output

    def _prefixes_of(self, lines: Sequence[Line]) -> Mapping[str, bytes]:
        """Return the prefixes of all origins so far, by label."""
        new = {source.label: source for _, source, _, _ in lines}
        if not new.keys() <= self._prefixes.keys():
            self._services |= {label: source.service for label, source in new.items()}
            self.width = max(self.width, *map(len, self._services))
            self._prefixes = {
                label: self._prefix(label, service) for label, service in self._services.items()
            }
        return self._prefixes

    def _prefix(self, label: str, service: str) -> bytes:
        if not self.prefixed:
            return b""
        text = f"{label:<{self.width}}  | "
        code = self.colors.get(service)
        return (paint(text, code) if code else text).encode()


@dataclass(slots=True)
class JsonFormat:
    """One JSON document a line: the form for programs."""

    project: str
    mask: Mask | None = None
    pattern: re.Pattern[bytes] | None = None

    def render(self, lines: Sequence[Line]) -> bytes:
        """Return what to write for the lines."""
        encode = json.JSONEncoder(ensure_ascii=False).encode
        documents = [
            encode(
                {
                    "schema": 1,
                    "project": self.project,
                    "time": stamp.decode("ascii"),
                    "service": source.service,
                    "container": source.container,
                    "stream": stream,
                    "message": text[:-1].decode("utf-8", "replace"),
                }
            )
            for stamp, source, stream, text in _matching(lines, self.mask, self.pattern)
        ]
        return "".join([document + "\n" for document in documents]).encode()


def _matching(
    lines: Iterable[Line], mask: Mask | None, pattern: re.Pattern[bytes] | None
) -> Iterator[Line]:
    """Yield the lines as they are shown, masked, if the pattern is found in that."""
    for stamp, source, stream, text in lines:
        shown = mask(text) if mask is not None else text
        if pattern is None or pattern.search(shown[:-1]):
            yield stamp, source, stream, shown


def service_colors(services: Iterable[str]) -> dict[str, str]:
    """Return a colour for each service, in the order given."""
    return {service: service_color(index) for index, service in enumerate(services)}
