"""Following a project's logs: what is there first, then what comes, across restarts.

Each container is taken up again at its last line, so that none is lost or shown twice; new ones
are followed from their beginning.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator

from owctl.engine.connection import Engine
from owctl.engine.containers import inspect_container
from owctl.engine.logs import writing_containers
from owctl.errors import EngineError
from owctl.observe.log_feed import Attachment, LogFeed, Message, Position
from owctl.observe.log_window import ReorderingWindow
from owctl.observe.logs import (
    Line,
    OnProblem,
    Source,
    Window,
    log_sources,
    read_logs,
)

POLL_SECONDS = 0.5
SOON_SECONDS = 0.1
REFUSALS = 4
# How long nothing may run before following ends: a recreated container is away for a moment.
GRACE_SECONDS = 3.0

OnEnd = Callable[[Source, str], None]


class LogFollower:
    """Follows logs: ``lines`` yields merged ones, and an empty list as a sign of life now and then.

    Ends when all containers have ended and none came back within ``GRACE_SECONDS``; at once if
    none ran to begin with. ``on_end`` hears of a container that ended, and how ("exited with code 1",
    "was restarted", "was removed"); ``on_problem`` of a log that cannot be read. ``lines`` raises
    EngineUnavailable when the engine goes away.
    """

    def __init__(
        self,
        engine: Engine,
        project: str,
        services: Collection[str] | None,
        window: Window,
        *,
        on_end: OnEnd,
        on_problem: OnProblem,
    ) -> None:
        self._engine = engine
        self._project = project
        self._services = services
        self._window = window
        self._on_end = on_end
        self._on_problem = on_problem
        self._feed = LogFeed(engine)
        self._reordering = ReorderingWindow()
        self._seen: dict[str, Position] = {}
        self._known: set[str] = set()
        self._unreadable: set[str] = set()
        self._ended: dict[str, Source] = {}
        self._refusals: Counter[str] = Counter()

    def lines(self) -> Generator[list[Line], None, None]:
        """Yield what there is and what comes; closing the generator ends all reading."""
        try:
            yield from self._history()
            yield from self._live()
        finally:
            self._feed.close()

    def _history(self) -> Iterator[list[Line]]:
        sources = log_sources(self._engine, self._project, self._services)
        if self._window.tail != 0:
            for lines in read_logs(self._engine, sources, self._window, self._problem):
                self._remember(lines)
                yield lines
        self._known = {source.container_id for source in sources}
        writing = self._writing()
        for source in sources:
            if source.container_id in writing:
                self._feed.follow(source, self._attachment(source, initial=True))

    def _live(self) -> Iterator[list[Line]]:
        grace_seconds = GRACE_SECONDS if self._feed.followed else 0.0
        quiet_since: float | None = None
        next_poll = 0.0
        while True:
            now = time.monotonic()
            if now >= next_poll:
                self._report_ends()
                self._take_up()
                next_poll = now + POLL_SECONDS
                yield []
            if self._feed.followed or self._reordering.holds:
                quiet_since = None
            else:
                quiet_since = now if quiet_since is None else quiet_since
                if now - quiet_since >= grace_seconds:
                    return
            message = self._feed.get(min(next_poll - now, self._reordering.due_in(now)))
            if message is not None and self._handle(message):
                next_poll = min(next_poll, now + SOON_SECONDS)
            alone = len(self._feed.followed) < 2
            if ready := self._reordering.release(time.monotonic(), alone=alone):
                yield ready

    def _handle(self, message: Message) -> bool:
        """Take a message in; returns whether to look at once what became of its container."""
        if not message.ended:
            self._remember(message.lines)
            self._reordering.add(message.lines, message.arrived)
            return False
        identity, error = message.source.container_id, message.error
        if isinstance(error, EngineError):
            # A container that is being removed still runs, but its log is refused already.
            self._refusals[identity] += 1
            if self._refusals[identity] >= REFUSALS:
                self._problem(message.source, error)
                return False
        elif error is not None:
            raise error
        self._ended[identity] = message.source
        return True

    def _report_ends(self) -> None:
        """Say what became of containers whose logs have ended; the engine may need a moment."""
        undecided = {}
        for identity, source in self._ended.items():
            container = inspect_container(self._engine, identity)
            if container is None:
                self._on_end(source, "was removed")
            elif container.exit_code is not None:
                self._on_end(source, f"exited with code {container.exit_code}")
            elif container.started_at != source.started_at:
                self._on_end(source, "was restarted")
            elif identity not in self._feed.followed:
                undecided[identity] = source
        self._ended = undecided

    def _take_up(self) -> None:
        """Follow containers that are new, or run again."""
        waiting = self._writing() - self._feed.followed
        if not waiting:
            return
        for source in log_sources(self._engine, self._project, self._services):
            if source.container_id in waiting:
                self._feed.follow(source, self._attachment(source, initial=False))
                self._known.add(source.container_id)

    def _attachment(self, source: Source, *, initial: bool) -> Attachment:
        if seen := self._seen.get(source.container_id):
            return Attachment(seen=seen)
        if self._window.tail != 0:
            return Attachment(since=self._window.since)
        if initial:
            return Attachment(tail=0)
        # What it wrote before owctl came was not wanted; what it wrote since its restart is.
        known = source.container_id in self._known
        return Attachment(since=source.started_at if known else None)

    def _writing(self) -> frozenset[str]:
        return writing_containers(self._engine, self._project, self._services) - self._unreadable

    def _problem(self, source: Source, error: EngineError) -> None:
        if source.container_id not in self._unreadable:
            self._unreadable.add(source.container_id)
            self._on_problem(source, error)

    def _remember(self, lines: Collection[Line]) -> None:
        seen = self._seen
        for stamp, source, _, _ in lines:
            before = seen.get(source.container_id)
            if before is None or stamp > before.stamp:
                seen[source.container_id] = Position(stamp)
            elif stamp == before.stamp:
                seen[source.container_id] = Position(stamp, before.count + 1)
