"""Asks again and again: rounds at a steady pace, what changed between them, how latency went."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from owctl.errors import Interrupted, OwctlError
from owctl.health.result import HealthReport

TREND_ROUNDS = 60


@dataclass(frozen=True, slots=True)
class Line:
    """What a watcher sees of a container or a deep check in one round."""

    name: str
    status: str
    latency_ms: float | None
    detail: str


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


def rounds(
    ask: Callable[[], HealthReport], interval_seconds: float
) -> Iterator[HealthReport | OwctlError]:
    """Yield a report every ``interval_seconds``, for ever; an engine's failure is yielded, too.

    The interval is from start to start; a round that takes longer delays the next. Raises
    Interrupted.
    """
    while True:
        started = time.monotonic()
        try:
            yield ask()
        except Interrupted:
            raise
        except OwctlError as error:
            yield error
        time.sleep(max(0.0, started + interval_seconds - time.monotonic()))
