"""Waits until services are healthy, and ends as soon as one can no longer become so.

What is common to every wait, also to that of a start: the rounds, and when an end is final.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from owctl.compose.model import Service, Stack
from owctl.errors import OwctlError, ServiceFailed, TimedOut
from owctl.health.check import check_containers
from owctl.health.result import HealthReport, ServiceHealth
from owctl.observe.evidence import how_it_ended, last_words

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container

PAUSE_SECONDS = 0.15
# Deep checks cost more: between two rounds of them.
DEEP_PAUSE_SECONDS = 1.0
# A container with a restart policy may stumble; at the third exit within the wait it has failed.
EXITS_ALLOWED = 3
# However little of the wait is left, a probe gets as long as an honest answer may take.
SHORTEST_PROBE_SECONDS = 0.25
# With these the engine starts a container again that ended by itself, so "exited" means stopped.
_ALWAYS_RESTARTED = ("always", "unless-stopped")


def repeat(
    look: Callable[[], float | None],
    timeout_seconds: float,
    pause: Callable[[float], object] = time.sleep,
) -> bool:
    """Call ``look`` until it returns None; return False where time is up before.

    ``look`` returns how many seconds to pause before the next time.
    """
    deadline = time.monotonic() + timeout_seconds
    while (seconds := look()) is not None:
        if time.monotonic() + seconds >= deadline:
            return False
        pause(seconds)
    return True


@dataclass(frozen=True, slots=True)
class WaitOutcome:
    """How a wait ended: the last report, and why it is not a healthy one."""

    report: HealthReport
    failure: OwctlError | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """What is waited for, and how long: ``timeout_seconds`` in all, each probe its own bound."""

    engine: "Engine"
    stack: Stack
    services: Sequence[Service]
    timeout_seconds: float
    probe_timeout_seconds: float
    deep: bool = False


def wait_until_healthy(
    wait: Wait,
    *,
    on_round: Callable[[HealthReport], None],
    look: "Callable[[], Sequence[Container]] | None" = None,
) -> WaitOutcome:
    """Probe again and again until all are healthy; ``on_round`` gets every report.

    The outcome's failure is TimedOut, or ServiceFailed for a container that ended for good. A
    service without a container is waited for. ``look`` lists the containers (default: the
    engine's). Raises EngineError and EngineUnavailable.
    """
    started = time.monotonic()
    deadline = started + wait.timeout_seconds
    restarts_before: dict[str, int] = {}
    look = look or _lister(wait)
    outcomes: list[WaitOutcome] = []

    def once() -> float | None:
        containers = look()
        for container in containers:
            restarts_before.setdefault(container.id, container.restart_count)
        report, pause_seconds = _ask(wait, containers, deadline)
        report = replace(report, duration_ms=(time.monotonic() - started) * 1000)
        on_round(report)
        failed = _ended_for_good(wait, report, containers, restarts_before)
        outcomes[:] = [WaitOutcome(report, None if report.status == "healthy" else failed)]
        return None if failed or report.status == "healthy" else pause_seconds

    ended = repeat(once, wait.timeout_seconds)
    outcome = outcomes[0]
    return outcome if ended else replace(outcome, failure=_timed_out(wait, outcome.report))


def _lister(wait: Wait) -> "Callable[[], Sequence[Container]]":
    from owctl.engine.containers import list_containers

    names = [service.name for service in wait.services]
    return lambda: list_containers(wait.engine, wait.stack.project, services=names)


def _ask(
    wait: Wait, containers: "Sequence[Container]", deadline: float
) -> tuple[HealthReport, float]:
    """Return a round's report, and how long to wait before the next.

    The cheap form of the probes is asked first, the whole only when that is content.
    """

    def probe_seconds() -> float:
        left = max(deadline - time.monotonic(), SHORTEST_PROBE_SECONDS)
        return min(wait.probe_timeout_seconds, left)

    def ask(gating: bool) -> HealthReport:
        return check_containers(
            wait.engine,
            wait.stack,
            wait.services,
            containers,
            timeout_seconds=probe_seconds(),
            gating=gating,
        )

    report = ask(gating=True)
    if report.status != "healthy":
        return report, PAUSE_SECONDS
    report = ask(gating=False)
    if not wait.deep or report.status != "healthy":
        return report, PAUSE_SECONDS
    from owctl.health.deep.checks import run_deep_checks

    found = run_deep_checks(
        wait.engine, wait.stack, containers, report.services, timeout_seconds=probe_seconds()
    )
    return replace(report, deep=found), DEEP_PAUSE_SECONDS


def _ended_for_good(
    wait: Wait,
    report: HealthReport,
    containers: "Sequence[Container]",
    restarts_before: dict[str, int],
) -> ServiceFailed | None:
    """Return the failure of the first container that nobody will start again."""
    healthy = {row.container for row in report.services if row.status == "healthy"}
    for container in containers:
        if container.name in healthy:
            continue
        what = final_end(container, restarts_before[container.id])
        if what is not None:
            return failed(wait.engine, container, what)
    return None


def failed(
    engine: "Engine", container: "Container", what: str, evidence: Sequence[str] = ()
) -> ServiceFailed:
    """Return the error of a container that will not become ready, with its last words."""
    return ServiceFailed(
        f"{container.service} {what}.",
        hint=f"owctl logs --tail 200 {container.service}",
        details=[*evidence, *last_words(engine, container)],
    )


def final_end(
    container: "Container", restarts_before: int, *, may_be_started: bool = True
) -> str | None:
    """Return how a container ended if it will not become healthy by itself, else None.

    ``may_be_started``: one that the engine restarts was stopped by somebody, who may start it again.
    """
    policy = container.restart_policy
    if container.state in ("exited", "dead"):
        # By "on-failure" the engine has given up by now: the container is no longer "restarting".
        stopped = may_be_started and policy in _ALWAYS_RESTARTED
        return None if stopped else how_it_ended(container)
    exits = container.restart_count - restarts_before + (container.state == "restarting")
    if exits >= EXITS_ALLOWED:
        how = "" if container.exit_code is None else f": it {how_it_ended(container)}"
        return f"keeps restarting, {exits} times since the wait began{how}"
    return None


def _timed_out(wait: Wait, report: HealthReport) -> TimedOut:
    rows = [row for row in report.services if row.status != "healthy"]
    lines = [f"{_name(row, report)}: {row.status}, {row.detail}" for row in rows]
    lines += [
        f"{check.service} {check.check}: {check.detail}"
        for check in report.deep or ()
        if check.status == "unhealthy"
    ]
    first = rows[0] if rows else None
    if rows and all(row.status == "missing" for row in rows):
        hint = "owctl start"
    else:
        service = first.service if first else next(iter(report.deep or ())).service
        hint = f"owctl logs --tail 200 {service}, or a longer --timeout"
    noun = "service was" if len(lines) == 1 else "checks were"
    return TimedOut(
        f"{len(lines)} {noun} not healthy within {wait.timeout_seconds:g} s:",
        hint=hint,
        details=lines,
    )


def _name(row: ServiceHealth, report: HealthReport) -> str:
    several = sum(other.service == row.service for other in report.services) > 1
    return row.container if several and row.container else row.service
