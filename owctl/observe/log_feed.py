"""One container's log, read in the background, and the position from which it goes on after a break."""

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

from owctl.engine.connection import Engine
from owctl.engine.logs import Guard, LogEntry, LogStream, stream_logs
from owctl.engine.wire import Stream
from owctl.errors import NotFound
from owctl.observe.log_filter import Line, Source

# -- How far a log was seen, so that reading can go on there without a gap or a line twice.


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


# -- Threads that read containers' logs as they grow, into one bounded queue.


# So many lines may come between two readings without the whole log being read again.
OVERLAP_LINES = 1000
# Of up to a quarter of a megabyte each.
QUEUE_BATCHES = 16
PUT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Attachment:
    """Where to begin: after what was ``seen``, else with ``tail`` lines or all of those ``since``.

    ``follow`` False reads what there is.
    """

    seen: Position | None = None
    tail: int | None = None
    since: float | str | None = None
    follow: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """Lines of a source, or (``ended``) that its log has ended, by ``error`` or in good order."""

    source: Source
    arrived: float
    lines: tuple[Line, ...] = ()
    ended: bool = False
    error: Exception | None = None


class LogFeed:
    """Reads any number of logs at once, each over a connection of its own; ``close`` ends all."""

    def __init__(self, engine: Engine, guard: Guard | None = None) -> None:
        self._engine = engine
        self._guard = guard
        self._queue: queue.Queue[Message] = queue.Queue(QUEUE_BATCHES)
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._streams: set[LogStream] = set()
        self._threads: dict[str, threading.Thread] = {}

    @property
    def followed(self) -> frozenset[str]:
        """The ids of the containers that are being read."""
        return frozenset(self._threads)

    def follow(self, source: Source, attachment: Attachment) -> None:
        """Begin to read a container's log; one that is being read must not be given again."""
        thread = threading.Thread(
            target=self._read,
            args=(source, attachment),
            name=f"owctl-logs-{source.label}",
            daemon=True,
        )
        self._threads[source.container_id] = thread
        thread.start()

    def get(self, timeout_seconds: float) -> Message | None:
        """Return the next message, None if none comes in time."""
        try:
            message = self._queue.get(timeout=max(timeout_seconds, 0.001))
        except queue.Empty:
            return None
        if message.ended:
            self._threads.pop(message.source.container_id).join()
        return message

    def close(self) -> None:
        """End every reading and wait until the threads have ended."""
        with self._lock:
            self._closed.set()
            for stream in self._streams:
                stream.close()
        for thread in self._threads.values():
            thread.join()

    def _read(self, source: Source, attachment: Attachment) -> None:
        error: Exception | None = None
        position = attachment.seen.copy() if attachment.seen else Position()
        try:
            for batch in self._batches(source, attachment):
                self._hand_over(source, position, batch)
            if attachment.follow and position:
                # The engine may end a stream before the last words of a container have come.
                for batch in self._batches(source, Attachment(seen=position.copy(), follow=False)):
                    self._hand_over(source, position, batch)
        except NotFound:
            pass  # removed: its log has ended
        except Exception as caught:  # noqa: BLE001  # raised again by the thread that listens
            error = caught
        self._put(Message(source, time.monotonic(), ended=True, error=error))

    def _hand_over(self, source: Source, position: Position, batch: list[LogEntry]) -> None:
        for stamp, name, _ in batch:
            position.add(stamp, name)
        lines = tuple((stamp, source, name, text) for stamp, name, text in batch)
        self._put(Message(source, time.monotonic(), lines))

    def _put(self, message: Message) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put(message, timeout=PUT_SECONDS)
            except queue.Full:
                continue
            return

    def _batches(self, source: Source, attachment: Attachment) -> Iterator[list[LogEntry]]:
        seen, follow = attachment.seen, attachment.follow
        if not seen:
            yield from self._stream(source, attachment.tail, attachment.since, follow)
            return
        # The engine finds the last lines fast and a time slowly. If the last lines reach back to
        # where to go on, nothing is missing between them.
        since = seen.since.decode("ascii")
        batches = self._stream(source, OVERLAP_LINES, since, follow)
        first = next(batches, None)
        if first is not None and first[0][0] > seen.since:
            batches.close()
            batches = self._stream(source, None, since, follow)
            first = next(batches, None)
        yield from seen.unseen(_with_first(first, batches))

    def _stream(
        self, source: Source, tail: int | None, since: float | str | None, follow: bool
    ) -> Generator[list[LogEntry], None, None]:
        stream = stream_logs(
            self._engine,
            source.container_id,
            tty=source.tty,
            follow=follow,
            tail=tail,
            since=since,
            until=None,
            guard=self._guard,
        )
        with self._lock:
            self._streams.add(stream)
            if self._closed.is_set():
                stream.close()
        try:
            yield from stream.batches()
        finally:
            with self._lock:
                self._streams.discard(stream)
            stream.close()


def _with_first(
    first: list[LogEntry] | None, batches: Iterator[list[LogEntry]]
) -> Iterator[list[LogEntry]]:
    if first is not None:
        yield first
    yield from batches
