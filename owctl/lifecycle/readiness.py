"""Wait until a service is ready, as its probe says; fail as soon as it cannot become so."""

import threading
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from owctl.compose.model import Service, Stack
from owctl.errors import ServiceFailed, TimedOut
from owctl.health.wait import failed, final_end, repeat
from owctl.lifecycle.execute import Cancelled
from owctl.observe.evidence import how_it_ended, last_words

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container

PROBE_INTERVAL_SECONDS = 0.15
PROBE_TIMEOUT_SECONDS = 2.0


def wait_until_ready(
    engine: "Engine",
    stack: Stack,
    service: Service,
    *,
    timeout_seconds: float,
    cancel: threading.Event,
    report: Callable[[str], None],
    one_shot: bool = False,
    only: Collection[str] | None = None,
) -> str:
    """Wait until every container of a service is ready; return the probe's last detail.

    ``one_shot`` waits for exit code 0 instead (``service_completed_successfully``). ``only`` are ids
    of containers: the others are not waited for.
    Raises ServiceFailed with the evidence, TimedOut with what the probe said last, Cancelled.
    """
    from owctl.engine.containers import list_containers

    containers = list_containers(engine, stack.project, services=[service.name])
    if only is not None:
        containers = [each for each in containers if each.id in only]
    if not containers:
        raise ServiceFailed(
            f"{service.name} has no container to wait for.", hint=f"owctl start {service.name}"
        )
    waits = [_Wait(engine, stack, service, container, one_shot) for container in containers]
    pending = waits

    def once() -> float | None:
        nonlocal pending
        pending = [wait for wait in waits if not wait.ready()]
        if not pending:
            return None
        report(pending[0].detail)
        return PROBE_INTERVAL_SECONDS

    def pause(seconds: float) -> None:
        if cancel.wait(seconds):
            raise Cancelled

    if not repeat(once, timeout_seconds, pause):
        raise _timed_out(engine, service, pending, timeout_seconds)
    return waits[0].detail


class _Wait:
    """The wait for one container."""

    def __init__(
        self,
        engine: "Engine",
        stack: Stack,
        service: Service,
        container: "Container",
        one_shot: bool,
    ) -> None:
        self.engine = engine
        self.stack = stack
        self.service = service
        self.container = container
        self.one_shot = one_shot
        self.restarts_before = container.restart_count
        self.detail = "starting"

    def ready(self) -> bool:
        from owctl.engine.containers import health_log, inspect_container
        from owctl.health.check import check_container

        container = inspect_container(self.engine, self.container.id)
        if container is None:
            raise ServiceFailed(
                f"The container of {self.service.name} was removed while it was waited for.",
                hint=f"owctl start {self.service.name}",
            )
        self.container = container
        if self._ended():
            return True
        if container.state != "running":
            self.detail = container.state
            return False
        health = check_container(
            self.engine,
            self.stack,
            self.service,
            container,
            timeout_seconds=PROBE_TIMEOUT_SECONDS,
            gating=True,
        )
        self.detail = health.detail
        if health.status == "unhealthy" and health.probe == "engine":
            # No probe of ours: the engine's verdict is the only one, and it is final.
            what = "was found unhealthy by its health check"
            raise failed(self.engine, container, what, health_log(container))
        return health.status == "healthy" and not self.one_shot

    def _ended(self) -> bool:
        """Return True for a one-shot service that has succeeded; raise for one that failed."""
        container = self.container
        if self.one_shot and container.state in ("exited", "dead") and container.exit_code == 0:
            self.detail = "completed"
            return True
        end = final_end(container, self.restarts_before, may_be_started=False)
        if end is not None:
            raise failed(self.engine, container, end)
        if container.state == "restarting" or container.restart_count > self.restarts_before:
            self.detail = f"restarting: {how_it_ended(container)}"
        return False


def _timed_out(
    engine: "Engine", service: Service, pending: Sequence[_Wait], timeout_seconds: float
) -> TimedOut:
    return TimedOut(
        f"{service.name} was not ready within {timeout_seconds:g} s; its probe said last: "
        f"{pending[0].detail}.",
        hint=f"owctl logs --tail 200 {service.name}, or a longer --timeout",
        details=last_words(engine, pending[0].container),
    )
