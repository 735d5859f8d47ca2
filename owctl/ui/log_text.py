"""A log line as it is shown: its service's colour, its text made harmless."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from owctl.environment.masking import harmless, harmless_line

# -- Colours of services.


# Readable on dark and light backgrounds, and far from the red and yellow of messages.
_PALETTE = ("36", "35", "32", "34", "33", "96", "95", "92", "94", "93")


def service_color(index: int) -> str:
    """Return the SGR code of the service at ``index``; every run gives it the same one."""
    return _PALETTE[index % len(_PALETTE)]


def paint(text: str, code: str) -> str:
    """Return ``text`` in a colour."""
    return f"\x1b[{code}m{text}\x1b[0m"


# -- Log lines as bytes for stdout: with prefix and time, or as JSON lines; harmless, secrets masked.


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


@dataclass(frozen=True, slots=True)
class Safety:
    """What is done to the lines before they are shown; ``raw`` shows them as they were written."""

    mask: Mask | None = None
    raw: bool = False

    def plain(self, block: bytes) -> bytes:
        """Return lines without control sequences and secrets."""
        if self.raw:
            return block
        # In this order: a sequence in the middle of a secret would keep the mask from seeing it.
        block = harmless(block)
        return self.mask(block) if self.mask is not None else block

    def colored(self, line: bytes) -> bytes:
        """Return a line likewise, with its own colours; without, where they stand in a secret."""
        if self.raw:
            return line
        shown = harmless_line(line)
        if self.mask is None:
            return shown
        masked = self.mask(shown)
        if b"\x1b" in shown:
            plain = harmless(line)
            if (hidden := self.mask(plain)) != plain and harmless(masked) != hidden:
                return hidden
        return masked


@dataclass(slots=True)
class TextFormat:
    """``service  | message``: the form for people.

    ``colors`` maps a service to its SGR code, empty for none; with them the lines keep their own
    colours. ``width`` is that of the longest label so far.
    """

    prefixed: bool = True
    timestamps: bool = False
    colors: Mapping[str, str] = field(default_factory=dict)
    width: int = 0
    safety: Safety = field(default_factory=Safety)
    _services: dict[str, str] = field(default_factory=dict)
    _prefixes: dict[str, bytes] = field(default_factory=dict)

    def render(self, lines: Sequence[Line], levels: Sequence[str | None] = ()) -> bytes:
        """Return what to write for the lines."""
        if self.colors:
            lines = [(a, b, c, self.safety.colored(text)) for a, b, c, text in lines]
        prefixes = self._prefixes_of(lines)
        if self.timestamps:
            output = b"".join(
                [prefixes[source.label] + stamp + b" " + text for stamp, source, _, text in lines]
            )
        else:
            output = b"".join([prefixes[source.label] + text for _, source, _, text in lines])
        # All at once: one pass over a block is many times faster than one for each line.
        return output if self.colors else self.safety.plain(output)

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
    """One JSON document a line: the form for programs.

    Raw messages keep their control characters, escaped as JSON does; what is no UTF-8 becomes U+FFFD.
    """

    project: str
    safety: Safety = field(default_factory=Safety)

    def render(self, lines: Sequence[Line], levels: Sequence[str | None] = ()) -> bytes:
        """Return what to write for the lines, with the level of each (None: not known)."""
        encode = json.JSONEncoder(ensure_ascii=self.safety.raw).encode
        documents = [
            encode(
                {
                    "schema": 1,
                    "project": self.project,
                    "time": stamp.decode("ascii"),
                    "service": source.service,
                    "container": source.container,
                    "stream": stream,
                    "level": level,
                    "message": self.safety.plain(text)
                    .removesuffix(b"\n")
                    .decode("utf-8", "replace"),
                }
            )
            for (stamp, source, stream, text), level in zip(
                lines, levels or [None] * len(lines), strict=True
            )
        ]
        return "".join([document + "\n" for document in documents]).encode()


def service_colors(services: Iterable[str]) -> dict[str, str]:
    """Return a colour for each service, in the order given."""
    return {service: service_color(index) for index, service in enumerate(services)}
