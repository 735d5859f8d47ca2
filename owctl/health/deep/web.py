"""Through the web as users come: the frontend's proxy to the backend and the bridge, and a real Socket.IO client."""

import json
import logging
import threading
from collections.abc import Callable
from typing import Literal
from urllib.parse import urlsplit

from owctl.engine.transport import speak_through
from owctl.health import http
from owctl.health.deep.subject import Skipped, Subject
from owctl.health.http import shake_hands
from owctl.health.parallel import within
from owctl.health.result import ProbeResult, printable
from owctl.health.target import Address

# -- Connects a real Socket.IO client, by long polling and by websocket.


Transport = Literal["polling", "websocket"]
# How long the server may take to be told that the client leaves; it has proven what it should.
LEAVE_SECONDS = 1.0


def connect(subject: Subject, transport: Transport) -> ProbeResult:
    """Return healthy once the server has accepted a client; raises Skipped."""
    address = subject.address
    seconds = subject.timeout_seconds
    try:
        # The library bounds each request, not the whole.
        within(seconds, lambda: connect_client(address, transport, seconds))
    except ImportError as error:
        raise Skipped(f"{error.name} is not installed") from None
    except TimeoutError:
        return ProbeResult("unhealthy", f"no Socket.IO session within {seconds:g} s")
    except OSError as error:
        return ProbeResult("unhealthy", printable(str(error), 160))
    except Exception as error:  # noqa: BLE001  # what the library makes of a senseless answer
        said = printable(f"{type(error).__name__}: {error}", 120)
        return ProbeResult("unhealthy", f"no Socket.IO server: {said}")
    return ProbeResult("healthy", "connected and left")


def connect_client(address: Address, transport: Transport, timeout_seconds: float) -> None:
    """Connect to the default namespace and disconnect; OSError says what went wrong."""
    import requests
    import socketio  # type: ignore[import-untyped]
    import socketio.exceptions  # type: ignore[import-untyped]
    import websocket  # noqa: F401  # without it the library would fall silent, not fail

    logger = logging.Logger("owctl-socketio")
    logger.disabled = True
    options = {}
    with requests.Session() as session:
        # A stack on this machine is not behind the proxy that the environment names.
        session.trust_env = False
        if address.through is not None:
            speak_through(session, address.through, timeout_seconds)
        if transport == "websocket":
            # Given a connection, the websocket does not ask the environment how to make one.
            options["socket"] = address.connect(timeout_seconds)
        client = socketio.Client(
            reconnection=False,
            logger=logger,
            engineio_logger=logger,
            handle_sigint=False,
            request_timeout=timeout_seconds,
            http_session=session,
            websocket_extra_options=options,
        )
        try:
            client.connect(
                f"http://{address.authority}", transports=[transport], wait_timeout=timeout_seconds
            )
        except socketio.exceptions.ConnectionError as error:
            raise ConnectionError(_reason(error, transport)) from error
        sender = client.eio.write_loop_task
        # In a thread, because by polling it returns when the server has ended the last poll, which
        # older servers do when their next ping is due, half a minute later.
        threading.Thread(target=client.disconnect, name="owctl-socketio", daemon=True).start()
        if sender is not None:
            sender.join(LEAVE_SECONDS)


def _reason(error: BaseException, transport: Transport) -> str:
    words = str(error)
    # The library says "Connection error" and keeps the reason in what it raised that from.
    cause: BaseException | None = error
    while cause is not None:
        words = str(cause) or words
        cause = cause.__cause__ or cause.__context__
    if "namespaces failed" in str(error):
        return "the server refuses clients without a token"
    if transport == "websocket" and "Handshake status" in words:
        status = words.partition("Handshake status ")[2].partition(" -+-+-")[0]
        return f"no upgrade to a websocket: HTTP {status}"
    return words


# -- Goes through the frontend's proxy to the backend and to the Socket.IO bridge.


# A backend that does not have the first may have the second.
_API_PATHS = ("/api/version", "/api/config")
_BACKENDS = ("rust-backend", "backend")
_BRIDGES = ("socketio-bridge", "socketio")
_NOT_FOUND = 404


def reach_api(subject: Subject) -> ProbeResult:
    """Ask the backend's API through the frontend; an answer that is not JSON is not its."""
    return _through(subject, _ask_api, "BACKEND_URL", _BACKENDS)


def reach_socketio(subject: Subject) -> ProbeResult:
    """Open and close an Engine.IO session through the frontend."""
    return _through(subject, shake_hands, "SOCKETIO_URL", _BRIDGES)


def _ask_api(server: http.Server) -> ProbeResult:
    for path in _API_PATHS:
        answer = server.ask("GET", path)
        if answer.status != _NOT_FOUND:
            return _judge_api(path, answer)
    return ProbeResult("unhealthy", f"HTTP 404 at {_API_PATHS[0]}: no backend of this stack")


def _judge_api(path: str, answer: http.Answer) -> ProbeResult:
    verdict = http.judge(answer)
    if not answer.succeeded:
        return verdict
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        said = printable(answer.body, 30)
        return ProbeResult(
            "unhealthy", f"answers {path} with {said!r} itself: it does not pass /api/ on"
        )
    version = document.get("version")
    note = f", version {printable(version, 30)}" if isinstance(version, str) else ""
    return ProbeResult("healthy", f"HTTP {answer.status} at {path}{note}")


def _through(
    subject: Subject,
    exchange: Callable[[http.Server], ProbeResult],
    variable: str,
    usual_names: tuple[str, ...],
) -> ProbeResult:
    address = subject.address
    result = http.converse(
        address.host, address.port, subject.timeout_seconds, exchange, address.through
    )
    gateway_failed = result.http_status in http.GATEWAY_ERRORS
    if result.status == "healthy":
        return result
    if result.answered and not gateway_failed:
        return result
    what = f"HTTP {result.http_status}" if gateway_failed else result.detail
    return ProbeResult(
        "unhealthy",
        f"{what} from the frontend: {_why(subject, variable, usual_names)}",
        result.latency_ms,
    )


def _why(subject: Subject, variable: str, usual_names: tuple[str, ...]) -> str:
    """Return the likely reason why the proxy gets no answer, and what to do."""
    name = urlsplit(subject.environment.get(variable, "")).hostname
    names = (name,) if name else usual_names
    restart = f"owctl restart {subject.service.name}"
    behind = [row for row in subject.rows if row.service in names]
    if not behind:
        return f"it does not reach {names[0]}; if that is healthy, {restart}"
    sick = next((row for row in behind if row.status != "healthy"), None)
    if sick is not None:
        return f"{sick.service} is {sick.status} ({sick.detail})"
    service = behind[0].service
    if _started_later(subject, service):
        return f"it resolved the old address of {service}, which was started later; {restart}"
    return f"{service} is healthy, so it may hold an old address; {restart}"


def _started_later(subject: Subject, service: str) -> bool:
    # The engine's times are RFC 3339 in UTC: as texts they compare as times do, to the second.
    own = (subject.container.started_at or "")[:19]
    others = [each.started_at or "" for each in subject.containers if each.service == service]
    return any(other[:19] > own for other in others)
