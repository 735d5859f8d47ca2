"""The probes that speak HTTP: one GET, healthy if the answer is 2xx and complete; and Socket.IO, whose session is opened by polling and closed again."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from owctl.health.result import ProbeResult, printable
from owctl.health.wire import WrongProtocolError, verdict
from owctl.network import Deadline

if TYPE_CHECKING:
    from owctl.http_client import HttpClient


# -- The HTTP probe: one GET, healthy if the answer is 2xx and complete.
# Redirects are not followed: they would prove another server's health. Nor is a proxy of the
# environment asked: a stack on this machine is not behind it.


# What a web server answers where it does not reach what it stands in front of.
GATEWAY_ERRORS = (502, 503, 504)
MAX_BODY_BYTES = 64 * 1024
_KEPT_IN_PATHS = "/%?&=:@!$'()*+,;~"
_TEXT = {"Content-Type": "text/plain;charset=UTF-8"}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; ``body`` holds at most its first 64 KiB."""

    status: int
    reason: str
    location: str
    body: bytes

    @property
    def succeeded(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


class Server:
    """A server that is asked, by a client whose deadline holds for all questions together."""

    def __init__(self, host: str, port: int, client: "HttpClient") -> None:
        self._origin = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._client = client

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Send one request, over a connection of its own, and read the answer.

        Raises OSError when the connection fails, WrongProtocolError when the answer is not HTTP.
        """
        from owctl.http_client import NotHttpError, read_body

        # As a target of its own: in a URL, httpx would normalise it.
        target = quote(path, safe=_KEPT_IN_PATHS)
        headers = _TEXT if body is not None else {}
        try:
            with self._client.answer(
                method, self._origin, target=target, headers=headers, content=body
            ) as response:
                content = read_body(response, MAX_BODY_BYTES)
        except NotHttpError as error:
            raise WrongProtocolError(f"not HTTP: answered {printable(str(error), 60)}") from None
        location = response.headers.get("Location", "")
        return Answer(response.status_code, response.reason_phrase, location, content)


def converse(
    host: str,
    port: int,
    timeout_seconds: float,
    exchange: Callable[[Server], ProbeResult],
    through: Path | None = None,
) -> ProbeResult:
    """Let ``exchange`` ask and judge, and turn whatever fails into a verdict.

    Returns the verdict with its latency; never raises for anything a server can do.
    """
    # Before the time runs: httpx takes a moment to load.
    from owctl.http_client import HttpClient

    with closing(HttpClient(Deadline(timeout_seconds), through)) as client:
        server = Server(host, port, client)
        return verdict(client, timeout_seconds, lambda: exchange(server))


def probe(
    host: str,
    port: int,
    *,
    path: str = "/health",
    timeout_seconds: float,
    through: Path | None = None,
) -> ProbeResult:
    """GET ``path`` at ``host``:``port``; never raises.

    ``timeout_seconds`` bounds the whole probe; ``through`` is a socket that leads there.
    """
    return converse(
        host, port, timeout_seconds, lambda server: judge(server.ask("GET", path)), through
    )


def judge(answer: Answer) -> ProbeResult:
    """Return the verdict on an answer."""
    text = f"HTTP {answer.status}"
    if answer.succeeded:
        return ProbeResult("healthy", text, http_status=answer.status)
    if answer.location:
        text = f"{text}, redirects to {printable(answer.location, 60)}"
    elif explanation := printable(answer.body, 80) or printable(answer.reason, 60):
        text = f"{text}: {explanation}"
    return ProbeResult("unhealthy", text, http_status=answer.status)


# -- The Socket.IO probe: /health, then a session of Engine.IO opened by polling and closed again.


_HANDSHAKE = "/socket.io/?EIO=4&transport=polling"
_OPEN_PACKET = b"0"
_CLOSE_PACKET = b"1"


def probe_socketio(
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

    def exchange(server: Server) -> ProbeResult:
        verdict = judge(server.ask("GET", path))
        if gating or verdict.status != "healthy":
            return verdict
        return shake_hands(server)

    return converse(host, port, timeout_seconds, exchange, through)


def shake_hands(server: Server) -> ProbeResult:
    """Open a session of Engine.IO, and close it again."""
    answer = server.ask("GET", _HANDSHAKE)
    if not answer.succeeded:
        verdict = judge(answer)
        return replace(verdict, detail=f"Engine.IO handshake: {verdict.detail}")
    session = _session_id(answer.body)
    if session is None:
        said = printable(answer.body, 60)
        return ProbeResult("unhealthy", f"Engine.IO handshake: no session in {said!r}")
    # Otherwise the server would keep the session until its ping times out.
    closed = server.ask("POST", f"{_HANDSHAKE}&sid={session}", _CLOSE_PACKET)
    if not closed.succeeded:
        verdict = judge(closed)
        return replace(verdict, detail=f"Engine.IO close: {verdict.detail}")
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
