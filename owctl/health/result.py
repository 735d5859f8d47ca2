"""What a probe found, what that makes of a container and of a stack, and how it is said in one line."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from owctl.figures import moment_text

if TYPE_CHECKING:
    from owctl.health.deep.subject import DeepCheck


# -- What a probe found, and what that makes of a container and of a stack.


SCHEMA = 1

ProbeStatus = Literal["healthy", "starting", "unhealthy"]
ServiceStatus = Literal["healthy", "starting", "unhealthy", "stopped", "missing"]
StackStatus = Literal["healthy", "degraded", "unhealthy"]


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One probe's verdict.

    ``latency_ms`` is the whole probe's time, None where nothing was asked. ``answered`` is False
    where no program said anything: refused, closed, silent. Only such a failure can be a start
    that is still under way; a program that answers "no" has spoken. ``http_status`` is that of the
    answer that decided, None where nothing spoke HTTP.
    """

    status: ProbeStatus
    detail: str
    latency_ms: float | None = None
    answered: bool = True
    http_status: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """One row of the report: a container, or a service that has none (``container`` None).

    ``probe`` says what gave the verdict: a protocol's name, ``exec`` (the container's own health
    check, run inside it), ``engine`` (the engine's verdict), ``running`` (there is nothing to ask),
    or None where nothing runs. ``target`` is the address, URL or container that was asked.
    """

    service: str
    container: str | None
    state: str | None
    engine_health: str | None
    status: ServiceStatus
    probe: str | None
    target: str | None
    latency_ms: float | None
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Return the row as ``owctl health --json`` prints it."""
        return {
            "service": self.service,
            "container": self.container,
            "state": self.state,
            "engine_health": self.engine_health,
            "status": self.status,
            "probe": self.probe,
            "target": self.target,
            "latency_ms": None if self.latency_ms is None else round(self.latency_ms, 1),
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class HealthReport:
    """A stack's health at ``checked_at`` (UTC); ``duration_ms`` is what finding it out took.

    ``deep`` is None where no deep checks were asked for.
    """

    project: str
    checked_at: datetime
    duration_ms: float
    services: tuple[ServiceHealth, ...]
    deep: "tuple[DeepCheck, ...] | None" = None

    @property
    def status(self) -> StackStatus:
        """Return ``healthy`` if every row is, ``unhealthy`` if no service is, else ``degraded``."""
        status = overall_status([row.status for row in self.services])
        failed = any(check.status == "unhealthy" for check in self.deep or ())
        return "degraded" if failed and status == "healthy" else status

    @property
    def checked_at_text(self) -> str:
        """Return ``checked_at`` in ISO 8601, with milliseconds."""
        return moment_text(self.checked_at)

    def to_json(self) -> dict[str, Any]:
        """Return the document that ``owctl health --json`` prints; keys are only ever added."""
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "project": self.project,
            "status": self.status,
            "checked_at": self.checked_at_text,
            "duration_ms": round(self.duration_ms, 1),
            "services": [row.to_json() for row in self.services],
        }
        if self.deep is not None:
            document["deep"] = [check.to_json() for check in self.deep]
        return document


def overall_status(statuses: Sequence[ServiceStatus]) -> StackStatus:
    """Return the stack's status; a stack without a single row is ``unhealthy``."""
    healthy = sum(status == "healthy" for status in statuses)
    if not healthy:
        return "unhealthy"
    return "healthy" if healthy == len(statuses) else "degraded"


def printable(text: str | bytes, limit: int = 100) -> str:
    """Return what a server sent as one harmless line of at most ``limit`` characters.

    A terminal must never be steered by a service's answer, so every control character goes.
    """
    if isinstance(text, bytes):
        text = text[: 4 * limit + 4].decode("utf-8", "replace")
    words = "".join(character if character.isprintable() else " " for character in text).split()
    line = " ".join(words)
    return line if len(line) <= limit else line[: limit - 1] + "…"


# -- A report as lines for a reader: its containers, then its deep checks.


class Line(NamedTuple):
    """What a watcher sees of a container or a deep check in one round."""

    name: str
    status: str
    latency_ms: float | None
    detail: str


def lines_of(report: HealthReport) -> list[Line]:
    """Return a report's lines; several containers of a service are told apart by their names."""
    services = [row.service for row in report.services]

    def name_of(service: str, container: str | None) -> str:
        if services.count(service) > 1 and container is not None:
            return container.removeprefix(f"{report.project}-")
        return service

    lines = [
        Line(name_of(row.service, row.container), row.status, row.latency_ms, row.detail)
        for row in report.services
    ]
    return lines + [
        Line(
            f"{name_of(check.service, check.container)} {check.check}",
            check.status,
            check.latency_ms,
            check.detail,
        )
        for check in report.deep or ()
    ]


# -- What changed between rounds of asking, and how latency went.


TREND_ROUNDS = 60


@dataclass(slots=True)
class History:
    """The rounds so far: the last statuses, and each line's latencies (None: not healthy)."""

    statuses: dict[str, str] = field(default_factory=dict)
    latencies_ms: dict[str, deque[float | None]] = field(default_factory=dict)

    def add(self, report: HealthReport) -> list[Line]:
        """Take a round in; return the lines whose status is not what it was."""
        lines = lines_of(report)
        changed = [line for line in lines if self.statuses.get(line.name) != line.status]
        self.statuses = {line.name: line.status for line in lines}
        for line in lines:
            trend = self.latencies_ms.setdefault(line.name, deque(maxlen=TREND_ROUNDS))
            trend.append(line.latency_ms if line.status == "healthy" else None)
        return changed
