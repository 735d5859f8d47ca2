"""Which deep checks the containers of a stack get, and all of them at once."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from owctl.compose.model import Probe, Service, Stack
from owctl.compose.services import choose_probe
from owctl.errors import OwctlError
from owctl.health.deep import databases, web
from owctl.health.deep.subject import DeepCheck, DeepStatus, Skipped, Subject
from owctl.health.parallel import at_once
from owctl.health.result import ProbeResult, ServiceHealth, printable
from owctl.health.target import find_address
from owctl.postgres.place import database_of

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container

Check = Callable[[Subject], ProbeResult]
_FRONTEND_IMAGES = ("open-webui-frontend", "demo-frontend")


def run_deep_checks(
    engine: "Engine",
    stack: Stack,
    containers: "Sequence[Container]",
    rows: Sequence[ServiceHealth],
    *,
    timeout_seconds: float,
) -> tuple[DeepCheck, ...]:
    """Make the deep checks of every row's container at once, each in ``timeout_seconds``.

    A container that does not run fails them; none of its failures is raised.
    """
    by_name = {container.name: container for container in containers}
    place = database_of(stack, containers)
    checks: list[Callable[[], DeepCheck]] = []
    for row in rows:
        service = stack.services[row.service]
        container = by_name.get(row.container or "")
        for name, check in checks_of(stack, service).items():
            fresh = DeepCheck(row.service, row.container, name, "unhealthy", None, row.detail)
            if container is None or not container.is_running:
                checks.append(partial(replace, fresh))
                continue
            probe = choose_probe(service)
            subject = Subject(
                engine,
                service,
                container,
                probe,
                find_address(engine, container, probe.port or 0),
                rows,
                containers,
                timeout_seconds,
                place.login if place is not None and place.name == service.name else None,
            )
            checks.append(partial(_run, check, subject, fresh))
    return tuple(at_once(checks))


def checks_of(stack: Stack, service: Service) -> dict[str, Check]:
    """Return the deep checks of a service by their names; none for most."""
    probe = choose_probe(service)
    if probe.type == "postgres":
        return {"login": databases.sign_in_and_query}
    if probe.type == "redis":
        return {"set-get-del": databases.set_get_delete}
    if probe.type == "socketio":
        return {
            "polling": partial(web.connect, transport="polling"),
            "websocket": partial(web.connect, transport="websocket"),
        }
    if _is_frontend(service, probe):
        checks: dict[str, Check] = {"proxy-api": web.reach_api}
        if any(choose_probe(other).type == "socketio" for other in stack.services.values()):
            checks["proxy-socketio"] = web.reach_socketio
        return checks
    return {}


def _is_frontend(service: Service, probe: Probe) -> bool:
    """Whether the service is the one that passes on to the backend: it is told where that is."""
    if probe.type != "http":
        return False
    known = service.name == "frontend" or any(
        part in (service.image or "") for part in _FRONTEND_IMAGES
    )
    return known or "BACKEND_URL" in service.environment


def _run(check: Check, subject: Subject, fresh: DeepCheck) -> DeepCheck:
    started = time.monotonic()
    try:
        result = check(subject)
    except Skipped as reason:
        return replace(fresh, status="skipped", detail=str(reason))
    except OwctlError as error:
        result = ProbeResult("unhealthy", printable(error.message, 200))
    latency_ms = result.latency_ms
    if latency_ms is None:
        latency_ms = (time.monotonic() - started) * 1000
    status: DeepStatus = "healthy" if result.status == "healthy" else "unhealthy"
    return replace(fresh, status=status, latency_ms=latency_ms, detail=result.detail)
