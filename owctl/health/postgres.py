"""The PostgreSQL probe: asks for a session, and judges the server's first words.

No password is needed: a server that demands one is up. So is one that refuses the login or does not
have the database, which the detail then says; `owctl doctor` looks into those. A server that is
starting or recovering answers 57P03; one without a free connection slot (53300) serves nobody.
"""

import struct
from collections.abc import Mapping
from pathlib import Path

from owctl.health.result import ProbeResult, printable
from owctl.health.wire import Wire, WrongProtocolError, converse

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


def probe(
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
    return _verdict(_error_fields(wire.receive_exactly(length - 4)))


def _error_fields(body: bytes) -> dict[str, str]:
    parts = [part.decode("utf-8", "replace") for part in body.split(b"\0")]
    return {part[0]: part[1:] for part in parts if part}


def _verdict(fields: Mapping[str, str]) -> ProbeResult:
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
