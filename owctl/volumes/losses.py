"""What of a volume a backup does not keep: looked for, called by a name that can be printed, and told.

The engine's archives have no sockets, and of extended attributes only capabilities. Devices they
have; but an archive may come from elsewhere, so none is ever made.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from owctl.engine.connection import Engine
from owctl.engine.execution import ExecStream, open_exec
from owctl.errors import EngineError, TimedOut
from owctl.volumes.tar import TarHeader

# In the folder that a restore unpacks into, a path is longer than in the volume; Linux takes 4095.
LONGEST_PATH_BYTES = 3900
_DEVICES = {b"3": "a character device", b"4": "a block device"}
_SHOWN = 20
_SHOWN_NAME = 200


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that does not come back as it was; ``path`` in the volume, made printable."""

    path: str
    what: str


def printable(name: str) -> str:
    """Return a file's name as text for people: what is no UTF-8, or no letter, as an escape."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    shown = "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
    return shown if len(shown) <= _SHOWN_NAME else shown[:_SHOWN_NAME] + "…"


def why_left_out(header: TarHeader, name: str) -> str | None:
    """Return why a restore leaves an entry out; None: it does not."""
    if header.type in _DEVICES:
        return _DEVICES[header.type]
    # A character has four bytes at most.
    if len(name) * 4 > LONGEST_PATH_BYTES:
        length = len(name.encode("utf-8", "surrogateescape"))
        if length > LONGEST_PATH_BYTES:
            return f"a path of {length} bytes"
    return None


def told(key: str, losses: Sequence[Loss]) -> str:
    """Return one sentence about what a volume loses."""
    shown = ", ".join(f"'{loss.path}' ({loss.what})" for loss in losses[:_SHOWN])
    more = f" and {len(losses) - _SHOWN} more" if len(losses) > _SHOWN else ""
    return f"In the volume {key}, a restore does not bring back: {shown}{more}."


# -- What an archive does not show: GNU tar lists it without reading any content.

# The kernel's own attributes (security.…) belong to a machine, or are capabilities, which are kept.
_SCRIPT = r"""
cd "$0" || exit 1
if tar --version 2>/dev/null | grep -q GNU; then
  echo attributes
  tar --xattrs --xattrs-include='user.*' --xattrs-include='trusted.*' --acls --numeric-owner \
    --quoting-style=escape -cvvf /dev/null . 2>&1 | grep -aE '^[^h].{9}[*+]|: socket ignored$' || :
else
  find . -type s | sed 's/.*/tar: &: socket ignored/'
fi
"""
_SECONDS = 120.0
_MOST_BYTES = 4 * 1024 * 1024
_SOCKET = re.compile(rb"[^ ]*tar: \./(.*): socket ignored")
_ATTRIBUTES = re.compile(rb".{10}([*+]) +\S+ +\S+ \S+ \S+ \./?(.*)")
_MEANINGS = {b"*": "its extended attributes", b"+": "its access control list"}


@dataclass(frozen=True, slots=True)
class Look:
    """What was found; not ``complete`` where attributes could not be looked for."""

    losses: tuple[Loss, ...] = ()
    complete: bool = False


class Looking:
    """A look that is under way in a container; ``finish`` waits for it."""

    def __init__(self, stream: ExecStream | None) -> None:
        self._stream = stream

    def finish(self) -> Look:
        """Return what was found. What could not be looked at is no error."""
        if self._stream is None:
            return Look()
        output = b""
        self._stream.limit(_SECONDS)
        try:
            for name, data in self._stream:
                output += data if name == "stdout" else b""
                if len(output) > _MOST_BYTES:
                    break
        except TimedOut:
            return Look()
        first, *lines = output.split(b"\n")
        complete = first == b"attributes"
        return Look(tuple(_losses(lines if complete else [first, *lines])), complete)


@contextmanager
def looking(engine: Engine, container_id: str, folder: str, *, can_run: bool) -> Iterator[Looking]:
    """Begin to look in a container's folder for what its archive will not have.

    It goes on by itself beside whatever is done in the block. Raises EngineUnavailable.
    """
    stream: ExecStream | None = None
    if can_run:
        command = ["sh", "-c", _SCRIPT, folder]
        # One that has ended meanwhile can be read all the same.
        with suppress(EngineError):
            stream = open_exec(
                engine, container_id, command, user="0:0", environment={"LC_ALL": "C"}
            )
    if stream is None:
        yield Looking(None)
        return
    with stream:
        yield Looking(stream)


def _losses(lines: Iterable[bytes]) -> Iterator[Loss]:
    for line in lines:
        if found := _SOCKET.fullmatch(line):
            yield Loss(_unescaped(found[1]), "a socket")
        elif found := _ATTRIBUTES.fullmatch(line):
            yield Loss(_unescaped(found[2].rstrip(b"/")) or ".", _MEANINGS[found[1]])


def _unescaped(name: bytes) -> str:
    raw = name.decode("unicode_escape").encode("latin-1", "replace")
    return printable(raw.decode("utf-8", "surrogateescape"))
