"""The HTTP probe: one GET, healthy if the answer is 2xx and complete.

It reads answers with the standard library's http.client over our own deadline, not with httpx:
httpx costs 130 ms to import, more than all probes of a healthy stack together, and its timeouts are
per read. Redirects are not followed: they would prove another server's health.
"""

import http.client
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import quote

from owctl.health.result import ProbeResult, printable
from owctl.health.wire import ClosedEarlyError, Wire, WrongProtocolError, converse

MAX_BODY_BYTES = 64 * 1024
_KEPT_IN_PATHS = "/%?&=:@!$'()*+,;~"


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
        host, port, timeout_seconds, lambda wire: judge(request(wire, "GET", path)), through
    )


def request(wire: Wire, method: str, path: str, body: bytes = b"") -> Answer:
    """Send one request over a connected wire and read the answer.

    Raises OSError when the connection fails, WrongProtocolError when the answer is not HTTP.
    """
    wire.send(_head(wire, method, path, body) + body)
    response = http.client.HTTPResponse(cast(socket.socket, wire), method=method)
    try:
        response.begin()
        content = response.read(MAX_BODY_BYTES)
        if response.length and len(content) < MAX_BODY_BYTES:
            raise ClosedEarlyError
    except (http.client.RemoteDisconnected, http.client.IncompleteRead):
        raise ClosedEarlyError from None
    # ValueError: a chunk of negative length.
    except (http.client.HTTPException, ValueError) as error:
        raise WrongProtocolError(f"not HTTP: answered {printable(str(error), 60)}") from None
    finally:
        response.close()
    return Answer(response.status, response.reason, response.getheader("Location", ""), content)


def judge(answer: Answer) -> ProbeResult:
    """Return the verdict on an answer."""
    text = f"HTTP {answer.status}"
    if answer.succeeded:
        return ProbeResult("healthy", text)
    if answer.location:
        return ProbeResult("unhealthy", f"{text}, redirects to {printable(answer.location, 60)}")
    explanation = printable(answer.body, 80) or printable(answer.reason, 60)
    return ProbeResult("unhealthy", f"{text}: {explanation}" if explanation else text)


def _head(wire: Wire, method: str, path: str, body: bytes) -> bytes:
    host = f"[{wire.host}]" if ":" in wire.host else wire.host
    lines = [
        f"{method} {quote(path, safe=_KEPT_IN_PATHS)} HTTP/1.1",
        f"Host: {host}:{wire.port}",
        "User-Agent: owctl",
        "Accept: */*",
        "Connection: close",
    ]
    if method == "POST":
        lines += ["Content-Type: text/plain;charset=UTF-8", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("ascii")
