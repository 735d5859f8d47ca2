"""A short window in which lines of several containers wait, to be shown in order of time."""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from owctl.observe.logs import Line, stamp_of

HOLD_SECONDS = 0.1


class ReorderingWindow:
    """Holds lines for ``hold_seconds`` after their arrival and hands them out by their time.

    All times are of one monotonic clock, in seconds.
    """

    def __init__(self, hold_seconds: float = HOLD_SECONDS) -> None:
        self._hold_seconds = hold_seconds
        self._lines: list[Line] = []
        # (arrival, latest stamp so far) of each addition: what is due is due with all before it.
        self._arrivals: deque[tuple[float, bytes]] = deque()

    @property
    def holds(self) -> bool:
        """Whether there are lines that have not been handed out."""
        return bool(self._lines)

    def add(self, lines: Sequence[Line], arrived: float) -> None:
        """Take lines in that arrived at that time."""
        if lines:
            self._lines += lines
            self._arrivals.append((arrived, max(map(stamp_of, lines))))

    def due_in(self, now: float) -> float:
        """Return the seconds until something is due; infinite when nothing is held."""
        if not self._arrivals:
            return float("inf")
        return max(self._arrivals[0][0] + self._hold_seconds - now, 0.0)

    def release(self, now: float, *, alone: bool = False) -> list[Line]:
        """Return what is due, in order; with ``alone`` (nothing to order against) everything."""
        horizon = b""
        while self._arrivals and (alone or self._arrivals[0][0] + self._hold_seconds <= now):
            horizon = max(horizon, self._arrivals.popleft()[1])
        if not horizon:
            return []
        self._lines.sort(key=stamp_of)
        cut = bisect_right(self._lines, horizon, key=stamp_of)
        due, self._lines = self._lines[:cut], self._lines[cut:]
        if not self._lines:
            self._arrivals.clear()
        return due
