"""A web server that resolved its upstreams once, when it started: asked through, and mended.

Upstream's frontend is an nginx that answers 502 after the backend or the bridge got a new address,
until it is reloaded.
"""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from owctl.compose.model import Service, Stack
from owctl.errors import OwctlError, ServiceFailed

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container
    from owctl.health.http import Answer
    from owctl.health.result import ProbeResult

GATEWAY_ERRORS = (502, 503, 504)
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
    from owctl.health.choice import choose_probe

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
    from owctl.health.choice import choose_probe

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
    from owctl.health.choice import choose_probe
    from owctl.health.http import request
    from owctl.health.result import ProbeResult
    from owctl.health.target import find_address
    from owctl.health.wire import converse

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
        lambda wire: judge(request(wire, "GET", path)),
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
