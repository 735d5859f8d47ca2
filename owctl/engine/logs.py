"""Container logs as streams of lines, read over a connection of our own."""

from collections.abc import Collection, Generator, Iterator
from contextlib import closing

from owctl.engine.closing import Closing
from owctl.engine.connection import Engine
from owctl.engine.log_lines import (
    Guard,
    LineAssembler,
    LogEntry,
    LogLine,
    TerminalLines,
    entries_of,
    line_of,
    stamp_ns,
)
from owctl.engine.naming import ONEOFF, PROJECT, SERVICE
from owctl.engine.wire import Response, lost, request, short_id

GATHER_SECONDS = 0.0003

__all__ = ["Guard", "LogEntry", "LogLine", "LogStream", "container_states", "stream_logs"]


class LogStream(Closing):
    """A container's log that is being read: iterate for LogLine, or take ``batches``.

    ``close`` may be called from another thread; iterating then raises EngineUnavailable, as it
    does when the connection breaks: only the engine ends a log.
    """

    def __init__(self, response: Response, *, tty: bool, guard: Guard | None = None) -> None:
        self._response = response
        self._lines: TerminalLines | LineAssembler = (
            TerminalLines(guard) if tty else LineAssembler(guard)
        )

    @property
    def entries(self) -> int:
        """How many entries of the engine's have been read; a line over 16 KiB is several."""
        return self._lines.entries

    def batches(self) -> Generator[list[LogEntry], None, None]:
        """Yield lines in the engine's order, as many at once as have come."""
        with self._response:
            try:
                for pieces in self._response.pieces():
                    if frames := self._lines.feed(pieces):
                        yield entries_of(frames)
                if frames := self._lines.finish():
                    yield entries_of(frames)
            except ValueError as error:
                raise lost(self._response.action, str(error)) from error

    def __iter__(self) -> Iterator[LogLine]:
        with closing(self.batches()) as batches:
            for batch in batches:
                yield from map(line_of, batch)

    def close(self) -> None:
        """Close the connection."""
        self._response.close()


def stream_logs(
    engine: Engine,
    container_id: str,
    *,
    tty: bool,
    follow: bool,
    tail: int | None,
    since: float | str | None,
    until: float | None,
    guard: Guard | None = None,
) -> LogStream:
    """Open a container's log; both streams, in the order of the engine.

    ``tail`` is a number of last entries (None: all); a line over 16 KiB is several of them.
    ``guard`` hides secrets in a line that is too long to stay in one piece. ``since`` and ``until`` are seconds since 1970,
    ``since`` also a stamp of the engine's (exact to the nanosecond); a line of that very time is
    included. Raises NotFound,
    EngineError (a log driver that cannot be read), EngineUnavailable.
    """
    query = {
        "stdout": "1",
        "stderr": "1",
        "follow": str(int(follow)),
        "timestamps": "1",
        "tail": "all" if tail is None else str(tail),
    }
    if since is not None:
        query["since"] = _moment(since)
    if until is not None:
        query["until"] = _moment(until)
    response = request(
        engine,
        "GET",
        f"/containers/{container_id}/logs",
        query=query,
        action=f"read the log of container {short_id(container_id)}",
    )
    if not follow:
        response.gather_seconds = GATHER_SECONDS
    return LogStream(response, tty=tty, guard=guard)


def _moment(moment: float | str) -> str:
    if isinstance(moment, str):
        seconds, nanoseconds = divmod(stamp_ns(moment), 10**9)
        return f"{seconds}.{nanoseconds:09d}"
    return f"{moment:.6f}"


def container_states(
    engine: Engine, project: str, services: Collection[str] | None = None
) -> dict[str, str]:
    """Return the ids of the project's containers, each with the engine's word for its state.

    One cheap request, for a loop. ``services`` None means all.
    """
    with engine.translate("list the containers"):
        found = engine.api.containers(
            all=True, filters={"label": [f"{PROJECT}={project}", f"{ONEOFF}=False"]}
        )
    return {
        str(entry["Id"]): str(entry.get("State") or "")
        for entry in found
        if services is None or (entry.get("Labels") or {}).get(SERVICE) in services
    }
