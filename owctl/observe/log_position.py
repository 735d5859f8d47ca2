"""How far a log was seen, so that reading can go on there without a gap or a line twice."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator

from owctl.engine.frames import Stream
from owctl.engine.logs import LogEntry

# The engine may write a line behind one that is a little later; not behind so many.
REMEMBERED_LINES = 256


class Position:
    """The latest lines seen of a log: their stamps and streams, in the log's order."""

    def __init__(self, seen: Iterable[tuple[bytes, Stream]] = ()) -> None:
        self._seen: deque[tuple[bytes, Stream]] = deque(seen, REMEMBERED_LINES)

    def __bool__(self) -> bool:
        """Whether anything was seen."""
        return bool(self._seen)

    def add(self, stamp: bytes, stream: Stream) -> None:
        """Remember one more line."""
        self._seen.append((stamp, stream))

    def copy(self) -> "Position":
        """Return one that does not change with this one."""
        return Position(self._seen)

    @property
    def since(self) -> bytes:
        """The stamp from which on to read again: all that was seen from there on is remembered."""
        if len(self._seen) < REMEMBERED_LINES:
            return min(stamp for stamp, _ in self._seen)
        return max(stamp for stamp, _ in list(self._seen)[: REMEMBERED_LINES // 2])

    def unseen(self, batches: Iterable[list[LogEntry]]) -> Iterator[list[LogEntry]]:
        """Yield what is read from ``since`` on without the lines that were seen."""
        since = self.since
        known = Counter(line for line in self._seen if line[0] >= since)
        for batch in batches:
            if not known:
                yield batch
                continue
            fresh = []
            for entry in batch:
                key = entry[0], entry[1]
                if key in known:
                    known[key] -= 1
                    if not known[key]:
                        del known[key]
                elif entry[0] >= since:
                    fresh.append(entry)
            if fresh:
                yield fresh
