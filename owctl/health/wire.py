"""A TCP connection with one deadline for everything that is said over it.

A socket's own timeout starts again with every byte, so a server that drips would hold a probe
forever. Here each wait gets what is left of the whole.
"""

import io
import socket
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from owctl.health.result import ProbeResult
from owctl.network import ClosedEarlyError, Deadline, connect, reason

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class WrongProtocolError(Exception):
    """What came back is not the protocol that was spoken; the message says what it was."""


class Wire:
    """A client's side of a connection to ``host``:``port``, to be done by the deadline.

    ``through`` is a socket file that leads there, None to connect directly. Every method raises OSError (TimeoutError once the time is up).
    """

    def __init__(
        self, host: str, port: int, deadline: Deadline, through: Path | None = None
    ) -> None:
        self.connected = False
        self._host = host
        self._port = port
        self._through = through
        self._deadline = deadline
        self._socket: socket.socket | None = None
        self._reader = io.BufferedReader(_Incoming(self))

    def connect(self) -> None:
        """Open the connection."""
        self._socket = connect(self._host, self._port, self._deadline, self._through)
        self.connected = True

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        connection = self._open_socket()
        connection.settimeout(self._deadline.remaining())
        connection.sendall(data)

    def receive_some(self, buffer: "WriteableBuffer") -> int:
        """Fill ``buffer`` with what has come, waiting for at least a byte; 0 is the end."""
        connection = self._open_socket()
        connection.settimeout(self._deadline.remaining())
        return connection.recv_into(buffer)

    def receive_exactly(self, count: int) -> bytes:
        """Return the next ``count`` bytes; raises ClosedEarlyError where there are fewer."""
        data = self._reader.read(count)
        if len(data) < count:
            raise ClosedEarlyError
        return data

    def receive_line(self, limit: int) -> bytes:
        """Return the next line with its end, or its first ``limit`` bytes if it is longer."""
        line = self._reader.readline(limit)
        if not line.endswith(b"\n") and len(line) < limit:
            raise ClosedEarlyError
        return line

    def _open_socket(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionError("not connected")
        return self._socket


class _Incoming(io.RawIOBase):
    """A wire's incoming bytes, for the standard library's buffering."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        return self._wire.receive_some(buffer)


def converse(
    host: str,
    port: int,
    timeout_seconds: float,
    exchange: Callable[[Wire], ProbeResult],
    through: Path | None = None,
) -> ProbeResult:
    """Connect, let ``exchange`` talk and judge, and turn whatever fails into a verdict.

    Returns the verdict with its latency; never raises for anything a server can do.
    """
    deadline = Deadline(timeout_seconds)
    with closing(Wire(host, port, deadline, through)) as wire:

        def talk() -> ProbeResult:
            wire.connect()
            return exchange(wire)

        return verdict(wire, timeout_seconds, talk)


class _Connection(Protocol):
    @property
    def connected(self) -> bool:
        """Whether it was made."""


def verdict(
    connection: _Connection, timeout_seconds: float, talk: Callable[[], ProbeResult]
) -> ProbeResult:
    """Return what ``talk`` says, or the verdict on what fails in it, with the latency."""
    started = time.monotonic()
    try:
        result = talk()
    except WrongProtocolError as error:
        result = ProbeResult("unhealthy", str(error))
    # OverflowError: a port number that does not exist.
    except (OSError, OverflowError) as error:
        why = reason(error, timeout_seconds, connected=connection.connected)
        result = ProbeResult("unhealthy", why, answered=False)
    return replace(result, latency_ms=(time.monotonic() - started) * 1000)
