"""The newest log lines of a project, kept up to date for as long as somebody looks at them."""

import threading
from collections import deque
from collections.abc import Callable, Collection
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from owctl.errors import EngineError, OwctlError
from owctl.observe.log_filter import Line, Source, Window
from owctl.observe.log_follow import LogFollower

if TYPE_CHECKING:
    from owctl.engine.connection import Engine

KEPT_LINES = 2000
KEPT_BYTES = 8_000_000
FIRST_LINES = 50
PAUSE_SECONDS = 1.0
# After a break another container's line may come that is older than the newest one shown.
OVERLAP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A line, or (``line`` None) a sentence of ours on a ``source``; ``number`` only ever grows."""

    number: int
    source: Source
    line: Line | None
    sentence: str = ""


class NewestLines:
    """Reads with ``follow``, in a thread of its own; ``entries`` may be asked from any other."""

    def __init__(
        self,
        engine: "Engine",
        project: str,
        services: Collection[str] | None,
        on_change: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._project = project
        self._services = services
        self._on_change = on_change
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque()
        self._size_bytes = 0
        self._count = 0
        self._last_stamps: dict[str, bytes] = {}  # by the container's id
        self._stopped = threading.Event()

    def entries(self) -> list[Entry]:
        """Return what is kept, oldest first."""
        with self._lock:
            return list(self._entries)

    def stop(self) -> None:
        """Make ``follow`` return, soon."""
        self._stopped.set()

    def follow(self) -> None:
        """Read until ``stop``, across restarts, and also when nothing runs or no engine answers."""
        while not self._stopped.is_set():
            # It is told where the containers are asked for; the log goes on when it is well again.
            with suppress(OwctlError):
                self._follow_once()
            self._stopped.wait(PAUSE_SECONDS)

    def _follow_once(self) -> None:
        follower = LogFollower(
            self._engine,
            self._project,
            self._services,
            self._window(),
            on_end=self._say,
            on_problem=self._on_problem,
        )
        seen = dict(self._last_stamps)
        with closing(follower.lines()) as batches:
            for lines in batches:
                if self._stopped.is_set():
                    return
                # A reader that begins anew is shown its last lines once more.
                if fresh := [
                    line for line in lines if line[0] > seen.get(line[1].container_id, b"")
                ]:
                    self._add_lines(fresh)

    def _window(self) -> Window:
        if not self._last_stamps:
            return Window(tail=FIRST_LINES)
        newest = datetime.fromisoformat(max(self._last_stamps.values()).decode("ascii"))
        return Window(since=newest.timestamp() - OVERLAP_SECONDS)

    def _add_lines(self, lines: list[Line]) -> None:
        with self._lock:
            for line in lines[-KEPT_LINES:]:
                self._append(line[1], line, "")
        for stamp, source, *_ in lines:
            last = self._last_stamps.get(source.container_id, b"")
            self._last_stamps[source.container_id] = max(stamp, last)
        self._on_change()

    def _say(self, source: Source, sentence: str) -> None:
        with self._lock:
            self._append(source, None, sentence)
        self._on_change()

    def _on_problem(self, source: Source, error: EngineError) -> None:
        self._say(source, error.message)

    def _append(self, source: Source, line: Line | None, sentence: str) -> None:
        self._count += 1
        self._entries.append(Entry(self._count, source, line, sentence))
        self._size_bytes += _size_bytes(line)
        while len(self._entries) > KEPT_LINES or self._size_bytes > KEPT_BYTES:
            self._size_bytes -= _size_bytes(self._entries.popleft().line)


def _size_bytes(line: Line | None) -> int:
    return 0 if line is None else len(line[3])
