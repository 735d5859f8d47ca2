"""Goes through the frontend's proxy to the backend and to the Socket.IO bridge."""

import json
from collections.abc import Callable
from urllib.parse import urlsplit

from owctl.health import http
from owctl.health.deep.subject import Subject
from owctl.health.http import shake_hands
from owctl.health.result import ProbeResult, printable

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
