"""Several logs as one, in the order of time."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from owctl.engine.log_lines import ns_stamp, stamp_ns
from owctl.observe.logs import Line, stamp_of

# The engine stamps stdout and stderr of a container apart, before it writes either to the log: there
# a line may stand behind one that is a little later.
DISORDER_NS = 10_000_000


def merge_by_time(
    streams: Sequence[Iterator[list[Line]]], disorder_ns: int = DISORDER_NS
) -> Iterator[list[Line]]:
    """Merge streams of lines, by reading only as far ahead as needed.

    Each stream is in order of time but for ``disorder_ns``. Lines of one stream and one time keep
    their order; a single stream is passed on as it is.
    """
    if len(streams) == 1:
        yield from streams[0]
        return
    open_logs = [_OpenLog(iter(stream), disorder_ns) for stream in streams]
    for log in open_logs:
        log.read()
    while open_logs:
        # Up to there nothing can come in between any more.
        horizon = min(log.settled for log in open_logs)
        taken: list[Line] = []
        for log in open_logs:
            taken += log.take(horizon)
            if log.settled == horizon:
                log.read()
        if taken:
            taken.sort(key=stamp_of)
            yield taken
        open_logs = [log for log in open_logs if log.lines or not log.ended]


class _OpenLog:
    """A stream, and what of it waits: sorted, final up to the stamp ``settled``."""

    def __init__(self, stream: Iterator[list[Line]], disorder_ns: int) -> None:
        self._stream = stream
        self._disorder_ns = disorder_ns
        self.lines: list[Line] = []
        self.ended = False
        self.settled = b""

    def read(self) -> None:
        """Read one more batch, so that ``settled`` is later, or the end is known."""
        while not self.ended:
            batch = next(self._stream, None)
            if batch is None:
                self.ended = True
                self.settled = b"\xff"
            elif batch:
                self.lines += batch
                self.lines.sort(key=stamp_of)
                settled = _earlier(self.lines[-1][0], self._disorder_ns)
                if settled > self.settled:
                    self.settled = settled
                    return

    def take(self, horizon: bytes) -> list[Line]:
        """Hand out the lines up to a stamp."""
        cut = bisect_right(self.lines, horizon, key=stamp_of)
        taken, self.lines = self.lines[:cut], self.lines[cut:]
        return taken


def _earlier(stamp: bytes, nanoseconds: int) -> bytes:
    return ns_stamp(stamp_ns(stamp.decode("ascii")) - nanoseconds).encode()
