"""The Socket.IO probe: /health, then a session of Engine.IO opened by polling and closed again."""

import json
from pathlib import Path

from owctl.health import http
from owctl.health.result import ProbeResult, printable

_HANDSHAKE = "/socket.io/?EIO=4&transport=polling"
_OPEN_PACKET = b"0"
_CLOSE_PACKET = b"1"


def probe(
    host: str,
    port: int,
    *,
    path: str = "/health",
    gating: bool = False,
    timeout_seconds: float,
    through: Path | None = None,
) -> ProbeResult:
    """GET ``path`` and, unless ``gating``, make the handshake of a Socket.IO client; never raises.

    ``gating`` is for asking many times a second. ``timeout_seconds`` bounds the whole probe;
    ``through`` is a socket that leads there.
    """

    def exchange(server: http.Server) -> ProbeResult:
        verdict = http.judge(server.ask("GET", path))
        if gating or verdict.status != "healthy":
            return verdict
        return shake_hands(server)

    return http.converse(host, port, timeout_seconds, exchange, through)


def shake_hands(server: http.Server) -> ProbeResult:
    """Open a session of Engine.IO, and close it again."""
    answer = server.ask("GET", _HANDSHAKE)
    if not answer.succeeded:
        verdict = http.judge(answer)
        return ProbeResult("unhealthy", f"Engine.IO handshake: {verdict.detail}")
    session = _session_id(answer.body)
    if session is None:
        said = printable(answer.body, 60)
        return ProbeResult("unhealthy", f"Engine.IO handshake: no session in {said!r}")
    # Otherwise the server would keep the session until its ping times out.
    closed = server.ask("POST", f"{_HANDSHAKE}&sid={session}", _CLOSE_PACKET)
    if not closed.succeeded:
        verdict = http.judge(closed)
        return ProbeResult("unhealthy", f"Engine.IO close: {verdict.detail}")
    return ProbeResult("healthy", "HTTP 200, Engine.IO handshake")


def _session_id(body: bytes) -> str | None:
    if not body.startswith(_OPEN_PACKET):
        return None
    # The open packet may be followed by others, after a record separator.
    packet = body[1:].split(b"\x1e", 1)[0]
    try:
        opened = json.loads(packet)
    except (ValueError, RecursionError):
        return None
    session = opened.get("sid") if isinstance(opened, dict) else None
    return session if isinstance(session, str) and session.isascii() and session else None
