"""The Redis probe: PING in Redis' own protocol, after AUTH where a password is known.

A server that demands a password we don't have is up, and so is one that has none although we sent
one. One that refuses the stack's password is not healthy: to the rest of the stack it is down.
"""

from pathlib import Path

from owctl.health.result import ProbeResult, printable
from owctl.health.wire import Wire, WrongProtocolError, converse

_MAX_LINE_BYTES = 1_000
# What AUTH answers when the server has no password: since 6.0, and before.
_NO_PASSWORD_SET = ("without any password configured", "no password is set")
_REFUSALS = ("WRONGPASS", "ERR invalid password")


def probe(
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
    return _verdict(reply)


def sign_in(wire: Wire, password: str | None) -> tuple[str, ProbeResult | None]:
    """Send AUTH where there is a password; return a note for the detail, and a refusal."""
    if password is None:
        return "", None
    wire.send(command(b"AUTH", password.encode("utf-8", "surrogateescape")))
    reply = _reply(wire)
    if any(phrase in reply for phrase in _NO_PASSWORD_SET):
        return ", no password is set on the server", None
    return "", None if reply == "+OK" else _verdict(reply)


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


def _verdict(reply: str) -> ProbeResult:
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
