"""What logs hold now: each read in a thread of its own, over a connection of its own, and merged."""

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing

from owctl.engine.closing import Closing
from owctl.engine.connection import Engine
from owctl.engine.containers import inspect_container
from owctl.engine.logs import Guard, LogStream, stream_logs
from owctl.errors import EngineError, EngineUnavailable, NotFound
from owctl.observe.log_filter import LineFilter
from owctl.observe.log_merge import merge_by_time
from owctl.observe.log_tail import TailStart, find_tail
from owctl.observe.logs import Line, OnProblem, Source, Window

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
