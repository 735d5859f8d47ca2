"""Threads that read containers' logs as they grow, into one bounded queue."""

import queue
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from owctl.engine.connection import Engine
from owctl.engine.logs import LogEntry, LogStream, stream_logs
from owctl.errors import NotFound
from owctl.observe.logs import Line, Source

# So many lines may come between two readings without the whole log being read again.
OVERLAP_LINES = 1000
QUEUE_BATCHES = 64
PUT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Position:
    """The latest line seen of a log: its stamp, and how many lines of that stamp were seen."""

    stamp: bytes
    count: int = 1


@dataclass(frozen=True, slots=True)
class Attachment:
    """Where to begin: after ``seen``, else with ``tail`` lines or all of those ``since``."""

    seen: Position | None = None
    tail: int | None = None
    since: float | str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """Lines of a source, or (``ended``) that its log has ended, by ``error`` or in good order."""

    source: Source
    arrived: float
    lines: tuple[Line, ...] = ()
    ended: bool = False
    error: Exception | None = None


class LogFeed:
    """Reads any number of logs at once; ``close`` ends every reading."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
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
        try:
            for batch in self._batches(source, attachment):
                lines = tuple((stamp, source, name, text) for stamp, name, text in batch)
                self._put(Message(source, time.monotonic(), lines))
        except NotFound:
            pass  # removed: its log has ended
        except Exception as caught:  # noqa: BLE001  # raised again by the thread that listens
            error = caught
        self._put(Message(source, time.monotonic(), ended=True, error=error))

    def _put(self, message: Message) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put(message, timeout=PUT_SECONDS)
            except queue.Full:
                continue
            return

    def _batches(self, source: Source, attachment: Attachment) -> Iterator[list[LogEntry]]:
        seen = attachment.seen
        if seen is None:
            yield from self._stream(source, tail=attachment.tail, since=attachment.since)
            return
        # The engine finds the last lines fast and a time slowly. If the last lines reach back to
        # the one seen last, nothing is missing between them.
        since = seen.stamp.decode("ascii")
        batches = self._stream(source, tail=OVERLAP_LINES, since=since)
        first = next(batches, None)
        if first is not None and first[0][0] > seen.stamp:
            batches.close()
            batches = self._stream(source, tail=None, since=since)
            first = next(batches, None)
        yield from skip_seen(seen, first or [])
        yield from batches

    def _stream(
        self, source: Source, *, tail: int | None, since: float | str | None
    ) -> Generator[list[LogEntry], None, None]:
        stream = stream_logs(
            self._engine,
            source.container_id,
            tty=source.tty,
            follow=True,
            tail=tail,
            since=since,
            until=None,
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


def skip_seen(seen: Position, batch: list[LogEntry]) -> Iterator[list[LogEntry]]:
    """Yield the batch without what was seen before, nothing if that is all of it."""
    at_stamp = 0
    fresh = []
    for entry in batch:
        if entry[0] == seen.stamp:
            at_stamp += 1
        if entry[0] > seen.stamp or (entry[0] == seen.stamp and at_stamp > seen.count):
            fresh.append(entry)
    if fresh:
        yield fresh
