"""Logs followed as they are written: the lines of all containers in the order of their times."""

import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Collection, Generator, Iterator, Sequence

from owctl.engine.connection import Engine
from owctl.engine.containers import inspect_container
from owctl.engine.logs import Guard, container_states
from owctl.errors import EngineError, EngineUnavailable
from owctl.observe.log_feed import Attachment, LogFeed, Message, Position
from owctl.observe.log_filter import (
    Line,
    LineFilter,
    OnProblem,
    Source,
    Window,
    log_sources,
    stamp_of,
)
from owctl.observe.log_read import read_logs

# -- A short window in which lines of several containers wait, to be shown in order of time.


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


# -- Following a project's logs: what is there first, then what comes, across restarts.
# Each container is taken up again where it was left, so that no line is lost or shown twice; new ones
# are followed from their beginning. A connection that breaks is made again.


POLL_SECONDS = 0.5
SOON_SECONDS = 0.1
REFUSALS = 4
# How long nothing may run before following ends: a recreated container is away for a moment.
GRACE_SECONDS = 3.0
# How long the engine may be away; one that is restarted needs a few seconds.
PATIENCE_SECONDS = 15.0
WRITING_STATES = ("running", "paused", "restarting")

OnEnd = Callable[[Source, str], None]
OnLoss = Callable[[str], None]


class LogFollower:
    """Follows logs: ``lines`` yields merged ones, and an empty list as a sign of life now and then.

    Ends when all containers have ended and none came back within ``GRACE_SECONDS``; at once if
    none ran to begin with. ``on_end`` hears of a container that ended, and how ("exited with code 1",
    "was restarted", "was removed"); ``on_problem`` of a log that cannot be read; ``on_loss`` of a
    lost connection that is tried again. ``chooser`` is told what to skip, as ``read_logs`` does;
    every line is yielded. ``lines`` raises EngineUnavailable when the engine stays away for
    ``patience_seconds``.
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
        on_loss: OnLoss = lambda text: None,
        chooser: LineFilter | None = None,
        guard: Guard | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._engine = engine
        self._project = project
        self._services = services
        self._window = window
        self._on_end = on_end
        self._on_problem = on_problem
        self._on_loss = on_loss
        self._chooser = chooser
        self._guard = guard
        self._patience_seconds = patience_seconds
        self._feed = LogFeed(engine, guard)
        self._reordering = ReorderingWindow()
        self._seen: dict[str, Position] = {}
        # Every container that was met, with the start whose log was begun last.
        self._known: dict[str, str | None] = {}
        self._unreadable: set[str] = set()
        self._ended: dict[str, Source] = {}
        # Logs whose end was not seen: they are read once more, whatever has become of the container.
        self._broken: set[str] = set()
        self._refusals: Counter[str] = Counter()
        self._lost_since: float | None = None

    def lines(self) -> Generator[list[Line], None, None]:
        """Yield what there is and what comes; closing the generator ends all reading."""
        try:
            yield from self._history()
            yield from self._live()
        finally:
            self._feed.close()

    def _history(self) -> Iterator[list[Line]]:
        sources = log_sources(self._engine, self._project, self._services)
        self._known = {source.container_id: source.started_at for source in sources}
        try:
            if self._window.tail != 0:
                yield from self._stored(sources)
            writing = self._writing(self._states())
        except EngineUnavailable as error:
            self._bear(error)
            self._broken |= self._known.keys()
            return
        for source in sources:
            if source.container_id in writing:
                self._feed.follow(source, self._attachment(source, initial=True))

    def _stored(self, sources: list[Source]) -> Iterator[list[Line]]:
        for lines in read_logs(
            self._engine,
            sources,
            self._window,
            self._problem,
            chooser=self._chooser,
            guard=self._guard,
        ):
            self._remember(lines)
            yield lines

    def _live(self) -> Iterator[list[Line]]:
        grace_seconds = GRACE_SECONDS if self._feed.followed or self._broken else 0.0
        quiet_since: float | None = None
        next_poll = 0.0
        while True:
            now = time.monotonic()
            if now >= next_poll:
                self._poll()
                next_poll = now + POLL_SECONDS
                yield []
            if self._feed.followed or self._reordering.holds or self._broken or self._is_lost:
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

    @property
    def _is_lost(self) -> bool:
        return self._lost_since is not None

    def _poll(self) -> None:
        """Look what has become of the containers; the engine may be away for a while."""
        try:
            self._report_ends()
            self._take_up()
        except EngineUnavailable as error:
            self._bear(error)
        else:
            self._lost_since = None

    def _bear(self, error: EngineUnavailable) -> None:
        """Let a failure of the engine pass, if it is not one for too long: then raise it."""
        now = time.monotonic()
        if self._lost_since is None:
            self._lost_since = now
            self._on_loss(f"{error.message}; trying again")
        elif now - self._lost_since >= self._patience_seconds:
            raise error

    def _handle(self, message: Message) -> bool:
        """Take a message in; returns whether to look at once what became of its container."""
        if not message.ended:
            self._remember(message.lines)
            self._reordering.add(message.lines, message.arrived)
            return False
        identity, error = message.source.container_id, message.error
        if isinstance(error, EngineUnavailable):
            self._bear(error)
            self._broken.add(identity)
            return False
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
        for identity, source in list(self._ended.items()):
            container = inspect_container(self._engine, identity)
            if container is None:
                self._on_end(source, "was removed")
            elif container.exit_code is not None:
                self._on_end(source, f"exited with code {container.exit_code}")
            elif container.started_at != source.started_at:
                self._on_end(source, "was restarted")
            elif identity not in self._feed.followed:
                continue
            del self._ended[identity]

    def _take_up(self) -> None:
        """Follow containers that are new or run again, also those that have ended meanwhile."""
        states = self._states()
        writing = self._writing(states)
        self._broken &= states.keys()  # the others were removed while nobody could look
        idle = {
            identity
            for identity, state in states.items()
            if identity not in self._feed.followed
            and identity not in self._unreadable
            and state != "created"
        }
        if not idle:
            return
        for source in log_sources(self._engine, self._project, self._services):
            identity = source.container_id
            if identity in idle and (
                identity in writing
                or identity in self._broken
                or source.started_at != self._known.get(identity)
            ):
                self._feed.follow(source, self._attachment(source, initial=False))
                self._known[identity] = source.started_at
                self._broken.discard(identity)

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

    def _states(self) -> dict[str, str]:
        return container_states(self._engine, self._project, self._services)

    def _writing(self, states: dict[str, str]) -> frozenset[str]:
        writing = {identity for identity, state in states.items() if state in WRITING_STATES}
        return frozenset(writing - self._unreadable)

    def _problem(self, source: Source, error: EngineError) -> None:
        if source.container_id not in self._unreadable:
            self._unreadable.add(source.container_id)
            self._on_problem(source, error)

    def _remember(self, lines: Collection[Line]) -> None:
        seen = self._seen
        for stamp, source, stream, _ in lines:
            position = seen.get(source.container_id)
            if position is None:
                position = seen[source.container_id] = Position()
            position.add(stamp, stream)
