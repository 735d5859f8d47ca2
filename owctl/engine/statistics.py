"""What the engine counts for a running container: processor, memory, network, disk, processes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from owctl.engine.connection import Engine


def read_statistics(engine: "Engine", container_id: str) -> Mapping[str, Any]:
    """Return the engine's counters of a container now; those of one that has ended are zero.

    They come at once: ``one-shot`` spares the second or two that the engine otherwise waits for
    something to compare with. Raises EngineError (it ended this very moment) and EngineUnavailable.
    """
    with engine.translate(f"read the statistics of the container {container_id[:12]}"):
        answer: Mapping[str, Any] = engine.api.stats(container_id, stream=False, one_shot=True)
    return answer
