"""The probes of PostgreSQL and Redis, and the TCP connection with one deadline that they speak over."""

import io
import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from owctl.health.result import ProbeResult, printable
from owctl.network import ClosedEarlyError, Deadline, connect, reason

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


# -- A TCP connection with one deadline for everything that is said over it.
# A socket's own timeout starts again with every byte, so a server that drips would hold a probe
# forever. Here each wait gets what is left of the whole.


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


# -- The PostgreSQL probe: asks for a session, and judges the server's first words.
# No password is needed: a server that demands one is up. So is one that refuses the login or does not
# have the database, which the detail then says; `owctl doctor` looks into those. A server that is
# starting or recovering answers 57P03; one without a free connection slot (53300) serves nobody.


_PROTOCOL_3_0 = 3 << 16
_AUTHENTICATION_OK = 0
_TERMINATE = b"X\x00\x00\x00\x04"
# libpq's limits: no honest authentication request or error is longer.
_MAX_AUTHENTICATION_BYTES = 2_000
_MAX_MESSAGE_BYTES = 30_000
_MAX_MESSAGES = 200

_CANNOT_CONNECT_NOW = "57P03"
_TOO_MANY_CONNECTIONS = "53300"
# The server works, and does not let this user into this database.
_LOGIN_REFUSED_CLASSES = ("28", "3D")
_LOGIN_REFUSED_CODES = ("42501", "55000")


def probe_postgres(
    host: str,
    port: int,
    *,
    user: str,
    database: str | None = None,
    timeout_seconds: float,
    through: Path | None = None,
) -> ProbeResult:
    """Ask the server at ``host``:``port`` for a session; never raises.

    ``database`` None is the one named like the user. ``timeout_seconds`` bounds the whole probe;
    ``through`` is a socket that leads there.
    """

    def exchange(wire: Wire) -> ProbeResult:
        wire.send(_startup_message(user, database or user))
        return _judge(wire)

    return converse(host, port, timeout_seconds, exchange, through)


def _startup_message(user: str, database: str) -> bytes:
    parameters = {"user": user, "database": database, "application_name": "owctl"}
    body = b"".join(
        name.encode() + b"\0" + value.encode("utf-8", "surrogateescape") + b"\0"
        for name, value in parameters.items()
    )
    return struct.pack("!ii", len(body) + 9, _PROTOCOL_3_0) + body + b"\0"


def _judge(wire: Wire) -> ProbeResult:
    kind, length = _header(wire)
    if kind == b"E":
        return _judge_error(wire, length)
    if kind != b"R" or not 8 <= length <= _MAX_AUTHENTICATION_BYTES:
        answer = kind + length.to_bytes(4, "big")
        raise WrongProtocolError(f"not PostgreSQL: answered {printable(repr(answer)[1:])}")
    demand = int.from_bytes(wire.receive_exactly(length - 4)[:4], "big")
    if demand != _AUTHENTICATION_OK:
        return ProbeResult("healthy", "accepts connections")
    return _judge_session(wire)


def _header(wire: Wire) -> tuple[bytes, int]:
    """Return the kind of the next message, and its length without the kind."""
    header = wire.receive_exactly(5)
    return header[:1], int.from_bytes(header[1:], "big")


def _judge_session(wire: Wire) -> ProbeResult:
    """Follow a login that needs no password: it can still be refused."""
    for _ in range(_MAX_MESSAGES):
        kind, length = _header(wire)
        if kind == b"E":
            return _judge_error(wire, length)
        if not 4 <= length <= _MAX_MESSAGE_BYTES:
            break
        wire.receive_exactly(length - 4)
        if kind == b"Z":
            wire.send(_TERMINATE)
            return ProbeResult("healthy", "accepts connections, without a password")
    raise WrongProtocolError("not PostgreSQL: the session never became ready")


def _judge_error(wire: Wire, length: int) -> ProbeResult:
    if not 8 <= length <= _MAX_MESSAGE_BYTES:
        # Before it can frame a message, a server in distress writes bare text.
        text = length.to_bytes(4, "big") + wire.receive_line(200)
        raise WrongProtocolError(f"cannot open a session: {printable(text)}")
    return _postgres_verdict(_error_fields(wire.receive_exactly(length - 4)))


def _error_fields(body: bytes) -> dict[str, str]:
    parts = [part.decode("utf-8", "replace") for part in body.split(b"\0")]
    return {part[0]: part[1:] for part in parts if part}


def _postgres_verdict(fields: Mapping[str, str]) -> ProbeResult:
    code = fields.get("C", "")
    message = printable(fields.get("M", "an error without a message"))
    if code == _CANNOT_CONNECT_NOW:
        # The same code when it goes down; only the words differ.
        going_down = "shutting down" in message
        return ProbeResult("unhealthy" if going_down else "starting", message)
    if code == _TOO_MANY_CONNECTIONS:
        return ProbeResult("unhealthy", f"no free connection: {message}")
    if code[:2] in _LOGIN_REFUSED_CLASSES or code in _LOGIN_REFUSED_CODES:
        return ProbeResult("healthy", f"answers, refuses the login: {message}")
    return ProbeResult("unhealthy", f"{message} ({printable(code, 10) or 'no code'})")


# -- The Redis probe: PING in Redis' own protocol, after AUTH where a password is known.
# A server that demands a password we don't have is up, and so is one that has none although we sent
# one. One that refuses the stack's password is not healthy: to the rest of the stack it is down.


_MAX_LINE_BYTES = 1_000
# What AUTH answers when the server has no password: since 6.0, and before.
_NO_PASSWORD_SET = ("without any password configured", "no password is set")
_REFUSALS = ("WRONGPASS", "ERR invalid password")


def probe_redis(
    host: str,
    port: int,
    *,
    password: str | None = None,
    timeout_seconds: float,
    through: Path | None = None,
) -> ProbeResult:
    """PING the server at ``host``:``port``; never raises.

    ``password`` None sends no AUTH. ``timeout_seconds`` bounds the whole probe; ``through`` is a
    socket that leads there.
    """
    return converse(host, port, timeout_seconds, lambda wire: _exchange(wire, password), through)


def _exchange(wire: Wire, password: str | None) -> ProbeResult:
    note, refusal = sign_in(wire, password)
    if refusal is not None:
        return refusal
    wire.send(command(b"PING"))
    reply = _reply(wire)
    if reply == "+PONG":
        return ProbeResult("healthy", "PONG" + note)
    return _redis_verdict(reply)


def sign_in(wire: Wire, password: str | None) -> tuple[str, ProbeResult | None]:
    """Send AUTH where there is a password; return a note for the detail, and a refusal."""
    if password is None:
        return "", None
    wire.send(command(b"AUTH", password.encode("utf-8", "surrogateescape")))
    reply = _reply(wire)
    if any(phrase in reply for phrase in _NO_PASSWORD_SET):
        return ", no password is set on the server", None
    return "", None if reply == "+OK" else _redis_verdict(reply)


def command(*words: bytes) -> bytes:
    """Return a command as it is sent."""
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


def _reply(wire: Wire) -> str:
    line = wire.receive_line(_MAX_LINE_BYTES)
    if not line.startswith((b"+", b"-")) or not line.endswith(b"\r\n"):
        raise WrongProtocolError(f"not Redis: answered {printable(repr(line[:40])[1:])}")
    return line.decode("utf-8", "replace").rstrip("\r\n")


def _redis_verdict(reply: str) -> ProbeResult:
    """Judge a reply that is neither OK nor PONG."""
    text = printable(reply[1:])
    if reply.startswith("-LOADING"):
        return ProbeResult("starting", text)
    if reply.startswith("-NOAUTH"):
        return ProbeResult("healthy", "answers, demands a password")
    if reply.startswith("-NOPERM"):
        return ProbeResult("healthy", f"answers, {text}")
    if reply[1:].startswith(_REFUSALS):
        return ProbeResult("unhealthy", f"answers, refuses the stack's password: {text}")
    return ProbeResult("unhealthy", text)
