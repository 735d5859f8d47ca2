"""What the engine counts for a running container: processor, memory, network, disk, processes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from owctl.errors import EngineError

if TYPE_CHECKING:
    from owctl.engine.connection import Engine


def read_statistics(engine: "Engine", container_id: str) -> Mapping[str, Any]:
    """Return the engine's counters of a container now; those of one that has ended are zero.

    They come at once: ``one-shot`` spares the second or two that the engine otherwise waits for
    something to compare with. Raises EngineError (it ended this very moment, or the engine counts
    for all of its containers together) and EngineUnavailable.
    """
    if engine.is_podman and engine.is_rootless and engine.info.get("CgroupVersion") == "1":
        raise EngineError(
            "a rootless Podman counts nothing for a single container on cgroup version 1",
            hint="use cgroup version 2, or root's Podman",
        )
    with engine.translate(f"read the statistics of the container {container_id[:12]}"):
        answer: Mapping[str, Any] = engine.api.stats(container_id, stream=False, one_shot=True)
    return answer
