"""Logs that are there already: read from all containers, merged by time, cut to the last lines."""

import queue
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

from owctl.engine.connection import Engine
from owctl.engine.containers import inspect_container
from owctl.engine.logs import Guard, LogStream, ns_stamp, stamp_ns, stream_logs
from owctl.engine.wire import Closing
from owctl.errors import EngineError, EngineUnavailable, NotFound
from owctl.observe.log_filter import Line, LineFilter, OnProblem, Source, Window, stamp_of

# -- Several logs as one, in the order of time.


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


# -- Where the last N lines of a log begin: whole lines, and only those that are chosen.


GROWTH = 8
FIRST_LOOK_ENTRIES = 1000


@dataclass(frozen=True, slots=True)
class TailStart:
    """Read the last ``entries`` of the engine (None: all), and skip so many chosen lines."""

    entries: int | None
    skip: int = 0


def find_tail(
    read: Callable[[int | None], Iterator[tuple[list[Line], int]]],
    window: Window,
    chooser: LineFilter,
) -> TailStart:
    """Return where the last ``window.tail`` lines that ``chooser`` chooses begin.

    ``read`` yields the lines of the last so many entries, each time with the number of entries so far. The
    engine finds its last entries fast, so the look back grows until enough is found. Nothing is
    kept but numbers.
    """
    wanted = window.tail or 0
    entries: int | None = wanted + 1
    if chooser.leaves_out:
        entries = max(wanted * GROWTH, FIRST_LOOK_ENTRIES)
    if window.until is not None:
        entries = None  # the engine counts its last entries from the end of the log, not from there
    while True:
        counting = chooser.fresh()
        found = read_entries = 0
        for lines, read_entries in read(entries):  # noqa: B007  # the last one counts
            found += len(counting.choose(lines)[0])
        if entries is None or read_entries < entries:
            # That was all there is.
            return TailStart(None, max(found - wanted, 0))
        # The first line may lack its beginning, so it takes one more than are wanted.
        if found > wanted:
            return TailStart(entries, found - wanted)
        entries *= GROWTH


# -- What logs hold now: each read in a thread of its own, over a connection of its own, and merged.


# Of up to a quarter of a megabyte each, for each container.
BATCHES_AHEAD = 2


def read_logs(
    engine: Engine,
    sources: Sequence[Source],
    window: Window,
    on_problem: OnProblem,
    *,
    chooser: LineFilter | None = None,
    guard: Guard | None = None,
) -> Iterator[list[Line]]:
    """Yield what the logs hold now, merged by time, in lists as they come.

    ``window.tail`` counts for each container, and only lines that ``chooser`` chooses: it is told how
    many of those to skip; every line is yielded. A log that cannot be read (its driver) is handed to
    ``on_problem`` and left out. Raises EngineUnavailable.
    """
    chooser = chooser or LineFilter()
    with ExitStack() as opened:
        logs = [StoredLog(engine, source, window, chooser, guard) for source in sources]
        # One log alone has nothing to wait for, and a thread in between would only cost.
        batches = logs if len(logs) == 1 else [opened.enter_context(ReadAhead(log)) for log in logs]
        yield from merge_by_time([_known_problems(log, on_problem, engine) for log in batches])


class StoredLog:
    """What a container's log holds, as batches of lines."""

    def __init__(
        self,
        engine: Engine,
        source: Source,
        window: Window,
        chooser: LineFilter,
        guard: Guard | None,
    ) -> None:
        self.source = source
        self._engine = engine
        self._window = window
        self._chooser = chooser
        self._guard = guard

    def __iter__(self) -> Iterator[list[Line]]:
        """Read it. Raises NotFound, EngineError (its driver), EngineUnavailable."""
        start = TailStart(self._window.tail)
        if self._window.tail:
            start = find_tail(self._lines, self._window, self._chooser)
        if start.skip:
            self._chooser.skip(self.source.container_id, start.skip)
        with closing(self._open(start.entries)) as stream:
            yield from self._lines_of(stream)

    def _lines(self, entries: int | None) -> Iterator[tuple[list[Line], int]]:
        """Yield the lines of the last entries, each time with the number of entries so far."""
        with closing(self._open(entries)) as stream:
            for lines in self._lines_of(stream):
                yield lines, stream.entries

    def _open(self, entries: int | None) -> LogStream:
        return stream_logs(
            self._engine,
            self.source.container_id,
            tty=self.source.tty,
            follow=False,
            tail=entries,
            since=self._window.since,
            until=self._window.until,
            guard=self._guard,
        )

    def _lines_of(self, stream: LogStream) -> Iterator[list[Line]]:
        source = self.source
        for batch in stream.batches():
            yield [(stamp, source, name, text) for stamp, name, text in batch]


class ReadAhead(Closing):
    """Reads a log in a thread, a few batches ahead of who iterates."""

    def __init__(self, log: StoredLog) -> None:
        self.source = log.source
        self._log = log
        self._queue: queue.Queue[list[Line] | Exception | None] = queue.Queue(BATCHES_AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._read, name=f"owctl-logs-{log.source.label}", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Iterator[list[Line]]:
        """Yield what was read; raises what the reading raised."""
        while (item := self._queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    def close(self) -> None:
        """Let the thread end, which happens before its next batch; nobody waits for it."""
        self._closed.set()
        while not self._queue.empty():
            self._queue.get_nowait()

    def _read(self) -> None:
        try:
            for batch in self._log:
                self._queue.put(batch)
                if self._closed.is_set():
                    return
            self._queue.put(None)
        except Exception as error:  # noqa: BLE001  # raised again by the thread that iterates
            self._queue.put(error)


def _known_problems(
    log: StoredLog | ReadAhead, on_problem: OnProblem, engine: Engine
) -> Iterator[list[Line]]:
    """Yield a log's batches; one that cannot be read ends, and ``on_problem`` hears why."""
    try:
        yield from log
    except NotFound:
        return  # removed since it was listed
    except EngineUnavailable:
        raise
    except EngineError as error:
        if not is_leaving(engine, log.source):
            on_problem(log.source, error)


def is_leaving(engine: Engine, source: Source) -> bool:
    """Whether a container is gone or being removed, when the engine refuses its log."""
    container = inspect_container(engine, source.container_id)
    return container is None or container.state in ("removing", "dead")
