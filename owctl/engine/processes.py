"""The processes of a container, as the engine's host sees them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from owctl.engine.connection import Engine


def list_processes(engine: "Engine", container_id: str) -> dict[int, str]:
    """Return the command line of each process of a running container by its process id.

    The ids are the host's. Raises EngineError, also where the host has no ``ps``.
    """
    with engine.translate(f"list the processes of the container {container_id[:12]}"):
        answer = engine.api.top(container_id, "-eo pid,args")
    rows = answer.get("Processes") or []
    return {int(row[0]): " ".join(row[1:]) for row in rows if row and row[0].isdigit()}
