"""Whose logs are read, and what a line of them is."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from operator import itemgetter

from owctl.engine.connection import Engine
from owctl.engine.containers import Container, list_containers
from owctl.engine.frames import Stream
from owctl.errors import EngineError


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
