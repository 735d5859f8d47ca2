"""What changed between rounds of asking, and how latency went."""

from collections import deque
from dataclasses import dataclass, field

from owctl.health.lines import Line, lines_of
from owctl.health.result import HealthReport

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
