"""The logs of several containers as one, in the order of time."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

from owctl.engine.connection import Engine
from owctl.engine.containers import Container, inspect_container, list_containers
from owctl.engine.frames import Stream
from owctl.engine.logs import stream_logs
from owctl.errors import EngineError, EngineUnavailable, NotFound


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of each log is wanted; times are seconds since 1970, None means unbounded."""

    tail: int | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A container whose log is read; ``label`` is what a reader calls it."""

    container_id: str
    container: str
    service: str
    label: str
    tty: bool
    started_at: str | None


# A line as bytes: stamp (sorts by time), source, stream, text with its newline.
Line = tuple[bytes, Source, Stream, bytes]
OnProblem = Callable[[Source, EngineError], None]

stamp_of = itemgetter(0)


def log_sources(
    engine: Engine, project: str, services: Collection[str] | None = None
) -> list[Source]:
    """Return the project's containers, running or not; ``services`` None means all."""
    containers = list_containers(engine, project, services=services)
    counts = Counter(container.service for container in containers)
    return [_source(container, counts[container.service]) for container in containers]


def _source(container: Container, count: int) -> Source:
    alone = count == 1 and container.number == 1
    return Source(
        container_id=container.id,
        container=container.name,
        service=container.service,
        label=container.service if alone else f"{container.service}-{container.number}",
        tty=container.tty,
        started_at=container.started_at,
    )


def read_logs(
    engine: Engine, sources: Sequence[Source], window: Window, on_problem: OnProblem
) -> Iterator[list[Line]]:
    """Yield what the logs hold now, merged by time, in lists as they come.

    ``window.tail`` counts for each container. A log that cannot be read (its driver) is handed to
    ``on_problem`` and left out. Raises EngineUnavailable.
    """
    opened = (_open(engine, source, window, on_problem) for source in sources)
    yield from merge_by_time([batches for batches in opened if batches is not None])


def _open(
    engine: Engine, source: Source, window: Window, on_problem: OnProblem
) -> Iterator[list[Line]] | None:
    try:
        stream = stream_logs(
            engine,
            source.container_id,
            tty=source.tty,
            follow=False,
            tail=window.tail,
            since=window.since,
            until=window.until,
        )
    except NotFound:
        return None  # removed since it was listed
    except EngineUnavailable:
        raise
    except EngineError as error:
        if not is_leaving(engine, source):
            on_problem(source, error)
        return None
    return (
        [(stamp, source, name, text) for stamp, name, text in batch] for batch in stream.batches()
    )


def is_leaving(engine: Engine, source: Source) -> bool:
    """Whether a container is gone or being removed, when the engine refuses its log."""
    container = inspect_container(engine, source.container_id)
    return container is None or container.state in ("removing", "dead")


def merge_by_time(streams: Sequence[Iterator[list[Line]]]) -> Iterator[list[Line]]:
    """Merge streams of lines, each in order of time, by reading only as far ahead as needed.

    Lines of one stream keep their order.
    """
    waiting: list[tuple[list[Line], Iterator[list[Line]]]] = [([], iter(s)) for s in streams]
    while waiting:
        filled = []
        for batch, stream in waiting:
            following = batch or sorted(next(stream, []), key=stamp_of)
            if following:
                filled.append((following, stream))
        if len(filled) == 1:
            batch, stream = filled[0]
            yield batch
            yield from stream
            return
        if not filled:
            return
        # Up to the earliest last line nothing can come in between any more.
        horizon = min(batch[-1][0] for batch, _ in filled)
        taken: list[Line] = []
        waiting = []
        for batch, stream in filled:
            cut = bisect_right(batch, horizon, key=stamp_of)
            taken += batch[:cut]
            waiting.append((batch[cut:], stream))
        taken.sort(key=stamp_of)
        yield taken
