"""A web server that resolved its upstreams once, when it started: asked through, reloaded, mended."""

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from owctl.compose.model import Service, Stack
from owctl.errors import OwctlError, ServiceFailed
from owctl.lifecycle.observed import Observed
from owctl.lifecycle.plan import Step, keys

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container
    from owctl.health.http import Answer
    from owctl.health.result import ProbeResult


# -- A web server that resolved its upstreams once, when it started: asked through, and mended.
# Upstream's frontend is an nginx that answers 502 after the backend or the bridge got a new address,
# until it is reloaded.


ATTEMPTS = 20
# While nginx reloads, its old workers go on taking requests for a moment.
SUCCESSES_IN_A_ROW = 4
PAUSE_SECONDS = 0.15
TIMEOUT_SECONDS = 5.0
# What the upstreams answer to without signing in, by the kind of probe that they have.
PATHS = {"http": "/api/version", "socketio": "/socket.io/?EIO=4&transport=polling"}


def upstreams(stack: Stack, service: Service) -> tuple[str, ...]:
    """Return the services that ``service`` proxies to; empty if it is no web server in front.

    It is one if it speaks HTTP and depends on services that speak HTTP or Socket.IO.
    """
    from owctl.compose.services import choose_probe

    if choose_probe(service).type != "http":
        return ()
    return tuple(
        edge.service
        for edge in service.depends_on
        if edge.service in stack.services
        and choose_probe(stack.services[edge.service]).type in PATHS
    )


def mend(
    engine: "Engine",
    stack: Stack,
    service: Service,
    container: "Container",
    cancel: threading.Event,
) -> str:
    """Ask through the web server; where it fails, reload it, then restart it.

    Returns what was done. Raises ServiceFailed if nothing helped.
    """
    paths = _paths(stack, service)
    failure = _failure(engine, service, container, paths, cancel, attempts=1)
    if failure is None:
        return "reaches " + ", ".join(upstreams(stack, service))
    if reload(engine, container):
        failure = _failure(engine, service, container, paths, cancel, attempts=ATTEMPTS)
        if failure is None:
            return "reloaded: it held an old address"
    from owctl.engine.containers import inspect_container, restart_container

    restart_container(engine, container.id)
    again = inspect_container(engine, container.id) or container
    failure = _failure(engine, service, again, paths, cancel, attempts=ATTEMPTS * 5)
    if failure is None:
        return "restarted: it held an old address"
    raise ServiceFailed(
        f"{service.name} does not reach what it stands in front of: {failure}.",
        hint=f"owctl logs --tail 50 {service.name}",
    )


def _paths(stack: Stack, service: Service) -> tuple[str, ...]:
    from owctl.compose.services import choose_probe

    kinds = {choose_probe(stack.services[name]).type for name in upstreams(stack, service)}
    return tuple(path for kind, path in PATHS.items() if kind in kinds)


def _failure(
    engine: "Engine",
    service: Service,
    container: "Container",
    paths: Sequence[str],
    cancel: threading.Event,
    *,
    attempts: int,
) -> str | None:
    from owctl.lifecycle.execute import Cancelled

    failures: list[str] = []
    successes = 0
    for attempt in range(attempts):
        if attempt and cancel.wait(PAUSE_SECONDS):
            raise Cancelled
        failures = [text for path in paths if (text := _ask(engine, service, container, path))]
        successes = 0 if failures else successes + 1
        if successes == min(attempts, SUCCESSES_IN_A_ROW):
            return None
    return "; ".join(failures) or "it answers now and then only"


def _ask(engine: "Engine", service: Service, container: "Container", path: str) -> str | None:
    """Return why the path is not served, None if it is; what cannot be asked counts as served."""
    from owctl.compose.services import choose_probe
    from owctl.health.http import GATEWAY_ERRORS, converse
    from owctl.health.result import ProbeResult
    from owctl.health.target import find_address

    port = choose_probe(service).port
    address = find_address(engine, container, port) if port else None
    if address is None:
        return None

    def judge(answer: "Answer") -> "ProbeResult":
        # Any answer of the upstream's own will do: only the proxy's is of interest.
        bad = answer.status in GATEWAY_ERRORS
        return ProbeResult("unhealthy" if bad else "healthy", f"HTTP {answer.status} for {path}")

    result = converse(
        address.host,
        address.port,
        TIMEOUT_SECONDS,
        lambda server: judge(server.ask("GET", path)),
        address.through,
    )
    return None if result.status == "healthy" else result.detail


def reload(engine: "Engine", container: "Container") -> bool:
    """Have nginx read its configuration again; False where the container has no nginx."""
    from owctl.engine.execution import run

    try:
        return (
            run(engine, container.id, ["nginx", "-s", "reload"], timeout_seconds=10).exit_code == 0
        )
    except OwctlError:
        # No such program, or no exec at all: a restart does as well.
        return False


# -- A web server made to forget the addresses that it knows, without losing a request.


_WORKER = "nginx: worker process"
_POLL_SECONDS = 0.05
# One that is about to end shuts down at once; what it has begun may take longer, and harms nobody.
_PATIENCE_SECONDS = 10.0


def web_servers(stack: Stack, observed: Observed, service: str) -> "list[Container]":
    """Return the running containers of the web servers that stand in front of a service."""
    return [
        container
        for name, each in stack.services.items()
        if service in upstreams(stack, each)
        for container in observed.of(name)
        if container.state == "running"
    ]


def reload_gracefully(engine: "Engine", container: "Container", cancel: threading.Event) -> bool:
    """Have nginx read its configuration, and every name in it, again.

    Returns once no worker that knows the old addresses takes a new request; False where the
    container has no nginx.
    """

    before = _workers(engine, container)
    if not reload(engine, container):
        return False
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while before & _workers(engine, container) and time.monotonic() < deadline:
        cancel.wait(_POLL_SECONDS)
    return True


def _workers(engine: "Engine", container: "Container") -> set[int]:
    """Return the ids of the workers that take requests: one that is ending says so in its title."""
    from owctl.engine.containers import list_processes

    try:
        found = list_processes(engine, container.id)
    except OwctlError:
        # No `ps` on the engine's host: nothing can be waited for.
        return set()
    return {process for process, title in found.items() if title.strip() == _WORKER}


# -- Which web servers to ask through after what stands behind them got a new address.


MOVING = ("start", "restart")


def reach_steps(stack: Stack, observed: Observed, steps: Sequence[Step]) -> list[Step]:
    """Return a question for each web server that keeps running while its upstreams move.

    One that starts itself in this plan resolves the new addresses by itself. Without a wait for
    the upstreams (``--no-wait``) there is nothing to ask yet.
    """
    moved = {step.service for step in steps if step.kind in MOVING}
    awaited = {step.service for step in steps if step.kind == "ready"}
    result: list[Step] = []
    for name, service in stack.services.items():
        behind = [up for up in upstreams(stack, service) if up in moved and up in awaited]
        if not behind or name in moved:
            continue
        after = keys(s for s in steps if s.kind == "ready" and s.service in (*behind, name))
        result += [
            Step(
                kind="reach",
                subject=name,
                service=name,
                number=container.number,
                name=container.name,
                container_id=container.id,
                reason=f"{', '.join(behind)} may have a new address",
                requires=after,
            )
            for container in observed.of(name)
            if container.state == "running"
        ]
    return result
