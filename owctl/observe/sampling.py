"""What containers consume, sampled in rounds."""

import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

from owctl.engine.containers import inspect_container, list_containers, read_statistics
from owctl.engine.logs import container_states
from owctl.errors import EngineError, EngineUnavailable, Interrupted, OwctlError
from owctl.observe.stats import Counters, Usage, cpu_limit_cores, parse_statistics, usage_between

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container


# -- Asks again and again, at a steady pace.


Answer = TypeVar("Answer")


def rounds(
    ask: Callable[[], Answer], interval_seconds: float, *, first_seconds: float | None = None
) -> Iterator[Answer | OwctlError]:
    """Yield an answer every ``interval_seconds``, for ever; an engine's failure is yielded, too.

    The interval is from start to start, ``first_seconds`` the one after the first answer; a round
    that takes longer delays the next. Raises Interrupted.
    """
    pause_seconds = interval_seconds if first_seconds is None else first_seconds
    while True:
        started = time.monotonic()
        try:
            yield ask()
        except Interrupted:
            raise
        except OwctlError as error:
            yield error
        time.sleep(max(0.0, started + pause_seconds - time.monotonic()))
        pause_seconds = interval_seconds


# -- What a project's containers consume, round after round: each is read by a thread of its own.


# So long a container may keep a round waiting; the others are shown without it then.
PATIENCE_SECONDS = 5.0
# A paused container keeps its memory, and its counters.
COUNTED = ("running", "paused")


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """A row: a container, or a service that has none (``container`` None).

    ``usage`` is None where nothing runs, and where ``problem`` says why it cannot be had.
    """

    service: str
    container: "Container | None"
    usage: Usage | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """All rows at one moment (UTC)."""

    taken_at: datetime
    rows: tuple[ContainerUsage, ...]


class StatsSampler:
    """Reads all containers at once with ``sample``; a second call has something to compare with.

    ``services`` are the names of those to show, in order; ``others`` shows containers of the
    project that no file describes, too. Use it in ``with``, from one thread.
    """

    def __init__(
        self, engine: "Engine", project: str, services: Sequence[str], *, others: bool
    ) -> None:
        self._engine = engine
        self._project = project
        self._services = services
        self._others = others
        self._before: dict[tuple[str, str | None], Counters] = {}
        self._readers: dict[str, _Reader] = {}

    def sample(self) -> Round:
        """Return what each container consumes since the last call.

        Raises EngineError and EngineUnavailable where the containers cannot be listed.
        """
        # Asked first: while the engine counts, which can take it a second, the rest is looked up.
        services = None if self._others else self._services
        states = container_states(self._engine, self._project, services)
        early = {key: self._reader(key).read() for key, state in states.items() if state in COUNTED}
        found = list_containers(self._engine, self._project, services=services)
        asked = {
            each.id: early.get(each.id) or self._reader(each.id).read()
            for each in found
            if each.state in COUNTED
        }
        self._dismiss(asked)
        deadline = time.monotonic() + PATIENCE_SECONDS
        rows: list[ContainerUsage] = []
        counters: dict[tuple[str, str | None], Counters] = {}
        for container in found:
            if container.id not in asked:
                rows.append(ContainerUsage(container.service, container, None))
            elif row := self._row(container, asked[container.id], deadline, counters):
                rows.append(row)
        self._before = counters
        return Round(datetime.now(UTC), tuple(self._ordered(rows)))

    def close(self) -> None:
        """Let the threads end."""
        self._dismiss(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _row(
        self,
        container: "Container",
        answer: "Future[Mapping[str, Any]]",
        deadline: float,
        counters: dict[tuple[str, str | None], Counters],
    ) -> ContainerUsage | None:
        """Return a container's row, None if it is gone; what was counted goes to ``counters``."""
        try:
            now = parse_statistics(answer.result(max(0.0, deadline - time.monotonic())))
        except TimeoutError:
            return ContainerUsage(
                container.service, container, None, "the engine does not say in time"
            )
        except EngineUnavailable:
            raise
        except EngineError as error:
            return self._after_all(container, error.message)
        if now is None:
            return self._after_all(container, None)
        # The start is part of the key: a restarted container counts from 0 again.
        key = container.id, container.started_at
        if not _is_of_an_earlier_run(now, container):
            counters[key] = now
        limit = cpu_limit_cores(container.raw.get("HostConfig") or {})
        usage = usage_between(self._before.get(key), now, limit)
        return ContainerUsage(container.service, container, usage)

    def _after_all(self, container: "Container", problem: str | None) -> ContainerUsage | None:
        """Return the row of a container that was listed as running, and may not run any more."""
        now = inspect_container(self._engine, container.id)
        if now is None:
            return None
        return ContainerUsage(now.service, now, None, problem if now.state in COUNTED else None)

    def _ordered(self, rows: Collection[ContainerUsage]) -> list[ContainerUsage]:
        present = {row.service for row in rows}
        missing = [
            ContainerUsage(name, None, None) for name in self._services if name not in present
        ]
        order = {name: index for index, name in enumerate(self._services)}
        return sorted(
            [*rows, *missing],
            key=lambda row: (
                order.get(row.service, len(order)),
                row.service,
                row.container.number if row.container else 0,
            ),
        )

    def _reader(self, container_id: str) -> "_Reader":
        return self._readers.setdefault(container_id, _Reader(self._engine, container_id))

    def _dismiss(self, keep: Collection[str]) -> None:
        for identity in self._readers.keys() - set(keep):
            self._readers.pop(identity).dismiss()


class _Reader:
    """A thread, and so a client, that reads one container whenever it is asked to."""

    def __init__(self, engine: "Engine", container_id: str) -> None:
        self._engine = engine
        self._container_id = container_id
        self._asked: queue.SimpleQueue[Future[Mapping[str, Any]] | None] = queue.SimpleQueue()
        self._answer: Future[Mapping[str, Any]] | None = None

    def read(self) -> "Future[Mapping[str, Any]]":
        """Return a reading; where the last one has not come yet, that one."""
        if self._answer is None:
            # A daemon thread: an engine that hangs must not keep owctl from ending.
            threading.Thread(target=self._work, name="owctl-stats", daemon=True).start()
        if self._answer is None or self._answer.done():
            self._answer = Future()
            self._asked.put(self._answer)
        return self._answer

    def dismiss(self) -> None:
        """Let the thread end."""
        self._asked.put(None)

    def _work(self) -> None:
        while (answer := self._asked.get()) is not None:
            try:
                answer.set_result(read_statistics(self._engine, self._container_id))
            except BaseException as error:  # noqa: BLE001  # not swallowed: result() raises it
                answer.set_exception(error)
        self._engine.release()


def _is_of_an_earlier_run(counters: Counters, container: "Container") -> bool:
    """Whether a container was restarted after it was read, and before it was looked up."""
    if counters.read_at is None or container.started_at is None:
        return False
    return counters.read_at < datetime.fromisoformat(container.started_at).timestamp()
