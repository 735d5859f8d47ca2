"""The HTTP probe: one GET, healthy if the answer is 2xx and complete.

Redirects are not followed: they would prove another server's health. Nor is a proxy of the
environment asked: a stack on this machine is not behind it.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from owctl.health.result import ProbeResult, printable
from owctl.health.wire import WrongProtocolError, verdict
from owctl.network import Deadline

if TYPE_CHECKING:
    from owctl.http_client import HttpClient

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
        return ProbeResult("healthy", text)
    if answer.location:
        return ProbeResult("unhealthy", f"{text}, redirects to {printable(answer.location, 60)}")
    explanation = printable(answer.body, 80) or printable(answer.reason, 60)
    return ProbeResult("unhealthy", f"{text}: {explanation}" if explanation else text)
