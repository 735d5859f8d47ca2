"""The container of a service that a command goes into, or why there is none."""

from typing import TYPE_CHECKING

from owctl.errors import OwctlError

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container


class NotRunning(OwctlError):
    """No container of the service runs; ``can_be_started`` tells whether `owctl start` would help."""

    def __init__(self, message: str, *, hint: str, can_be_started: bool) -> None:
        super().__init__(message, hint=hint)
        self.can_be_started = can_be_started


def running_container(
    engine: "Engine", project: str, service: str, index: int | None
) -> "Container":
    """Return the service's container of that number, or the first that runs. Raises NotRunning."""
    from owctl.engine.containers import list_containers

    found = list_containers(engine, project, services=[service])
    wanted = [container for container in found if index in (None, container.number)]
    for container in wanted:
        if container.is_running:
            return container
    if wanted:
        raise _not_running(wanted[0], service)
    if found:
        numbers = ", ".join(str(container.number) for container in found)
        raise NotRunning(
            f"{service} number {index} is not running (it has no such container)",
            hint=f"one of its numbers: {numbers}",
            can_be_started=False,
        )
    raise NotRunning(
        f"{service} is not running (it has no container)",
        hint=f"owctl start {service}",
        can_be_started=index in (None, 1),
    )


def _not_running(container: "Container", service: str) -> NotRunning:
    why = f"owctl logs --tail 20 {service} shows why"
    if container.state == "paused":
        return NotRunning(
            f"{service} is paused: nothing can run in it",
            hint=f"docker unpause {container.name}",
            can_be_started=False,
        )
    if container.state == "restarting":
        return NotRunning(
            f"{service} is restarting: it ended and waits for its next start",
            hint=why,
            can_be_started=False,
        )
    return NotRunning(
        f"{service} is not running (its container is {container.state})",
        hint=f"owctl start {service}; {why} it ended",
        can_be_started=True,
    )
