"""The engine's events of the project's containers, as they happen."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from owctl.engine.naming import ONEOFF, PROJECT, SERVICE
from owctl.engine.wire import Closing
from owctl.errors import EngineUnavailable

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.wire import Response


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """Something that happened to a container.

    ``action`` is the engine's word ("start", "die", "oom", "destroy", "health_status: healthy", …);
    ``exit_code`` comes with "die". ``time_ns`` counts nanoseconds since 1970.
    """

    action: str
    container_id: str
    service: str
    exit_code: int | None
    time_ns: int


class EventStream(Closing):
    """An endless iterator of ContainerEvent; ``close``, from any thread, ends it.

    Raises EngineUnavailable when the engine goes away.
    """

    def __init__(self, response: "Response") -> None:
        self._response = response
        self._closed = False

    def __iter__(self) -> Iterator[ContainerEvent]:
        rest = b""
        try:
            for pieces in self._response.pieces():
                *lines, rest = (rest + b"".join(pieces)).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield _event(json.loads(line))
        except (EngineUnavailable, OSError):
            if not self._closed:
                raise

    def close(self) -> None:
        """End the iteration, whichever thread is in it. May be called twice."""
        self._closed = True
        self._response.close()


def watch_events(engine: "Engine", project: str, since_seconds: float | None = None) -> EventStream:
    """Subscribe to the events of the project's containers, one-off ones left out.

    When it returns the engine has answered, so nothing that is done afterwards is missed.
    ``since_seconds`` (since 1970) also asks for the past. The caller closes.
    """
    from owctl.engine.wire import request

    filters = {"type": ["container"], "label": [f"{PROJECT}={project}", f"{ONEOFF}=False"]}
    query = {"filters": json.dumps(filters)}
    if since_seconds is not None:
        query["since"] = f"{since_seconds:.9f}"
    action = "watch the engine's events"
    return EventStream(request(engine, "GET", "/events", action=action, query=query))


def _event(raw: Mapping[str, Any]) -> ContainerEvent:
    actor = raw.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    exit_code = attributes.get("exitCode")
    return ContainerEvent(
        action=str(raw.get("Action") or raw.get("status") or ""),
        container_id=str(actor.get("ID") or raw.get("id") or ""),
        service=str(attributes.get(SERVICE) or ""),
        exit_code=int(exit_code) if exit_code else None,
        time_ns=int(raw.get("timeNano") or 0),
    )
