"""Asks every container of a stack at once, each by its probe, or runs the container's own health check inside it."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from owctl.compose.model import Probe, Service, Stack
from owctl.compose.services import choose_probe
from owctl.errors import OwctlError
from owctl.health import http, target, wire
from owctl.health.parallel import at_once
from owctl.health.result import HealthReport, ProbeResult, ServiceHealth, ServiceStatus, printable
from owctl.health.target import Address, find_address
from owctl.postgres.place import credentials_of

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container


# -- Verdicts that need no protocol: the container's own health check, and the engine's opinion.


_MAX_OUTPUT_BYTES = 4_096


def own_check(container: "Container") -> tuple[str, ...] | None:
    """Return the command of the container's health check, None where there is none."""
    config = container.raw.get("Config") or {}
    test = (config.get("Healthcheck") or {}).get("Test") or []
    kind, words = (test[0], tuple(test[1:])) if test else ("NONE", ())
    if kind == "CMD" and words:
        return words
    if kind == "CMD-SHELL" and words:
        return (*(config.get("Shell") or ("/bin/sh", "-c")), words[0])
    return None


def run_own_check(
    engine: "Engine", container: "Container", *, timeout_seconds: float
) -> ProbeResult:
    """Run the container's health check inside it; never raises for what engine or check do.

    Exit code 0 is healthy, anything else is not, as it is to the engine. After
    ``timeout_seconds`` the check is given up; its process is left to the container.
    """
    command = own_check(container)
    if command is None:
        return ProbeResult("unhealthy", "the container has no health check")
    started = time.monotonic()
    try:
        code, output = _run(engine, container.id, command, timeout_seconds)
    except OwctlError as error:
        result = ProbeResult("unhealthy", printable(error.message), answered=False)
    else:
        said = printable(output)
        if code == 0:
            result = ProbeResult("healthy", said or "its health check passes")
        else:
            reason = f"its health check exits with {code}" + (f": {said}" if said else "")
            result = ProbeResult("unhealthy", reason, answered=False)
    return replace(result, latency_ms=(time.monotonic() - started) * 1000)


def engine_verdict(container: "Container") -> ProbeResult:
    """Return what the engine says of a running container; without a health check, that it runs."""
    from owctl.engine.containers import health_log

    if container.engine_health is None:
        return ProbeResult("healthy", "runs; it has no probe and no health check")
    if container.engine_health == "healthy":
        return ProbeResult("healthy", "the engine calls it healthy")
    last = health_log(container, last=1)
    said = f": {printable(last[-1])}" if last else ""
    if container.engine_health == "starting":
        return ProbeResult("starting", f"the engine calls it starting{said}")
    return ProbeResult("unhealthy", f"the engine calls it {container.engine_health}{said}")


def _run(
    engine: "Engine", container_id: str, command: tuple[str, ...], timeout_seconds: float
) -> tuple[int, bytes]:
    """Return exit code and the beginning of the output: a check may print without end."""
    from owctl.engine.execution import open_exec

    output = bytearray()
    with open_exec(engine, container_id, command) as stream:
        stream.limit(timeout_seconds)
        for _, data in stream:
            output += data[: _MAX_OUTPUT_BYTES - len(output)]
        return stream.exit_code(), bytes(output)


# -- The verdict on one container, and on a whole stack with all probes at once.
# The rules, in this order:
# - A container that doesn't run is ``stopped``; one that is paused or that the engine keeps
# restarting is ``unhealthy``. A job that others wait for (``service_completed_successfully``) is
# healthy once it has exited with 0.
# - A service with a probe gets its verdict from the probe alone: at its address, else by the
# container's own health check run inside it (also where another machine's address lets nobody in).
# Where neither can be had, the engine's verdict counts.
# - A service without a probe gets the engine's verdict; without a health check, running is healthy.
# - Where nothing answered and the container started within its health check's start period (at least
# 10 s), it is ``starting``. A program that answers wrongly is ``unhealthy`` from its first second.


DEFAULT_TIMEOUT_SECONDS = 5.0
MINIMUM_GRACE_SECONDS = 10.0
# Probes that send nothing secret; they speak HTTP.
_OPEN = ("http", "socketio")


class _Way(TypedDict):
    """What every probe is told of its way."""

    timeout_seconds: float
    through: Path | None


def check_stack(
    engine: "Engine",
    stack: Stack,
    services: Sequence[Service] | None = None,
    *,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    deep: bool = False,
) -> HealthReport:
    """Probe every container of the services (default: all) at once.

    Returns a row per container, one with status ``missing`` for a service that has none; a service
    scaled to 0 is left out. ``timeout_seconds`` bounds each probe, and so, the engine's own
    answers aside, the whole; ``deep`` makes the deep checks after the probes, with the same bound.
    Raises EngineError and EngineUnavailable.
    """
    from owctl.engine.containers import list_containers

    started = time.monotonic()
    chosen = tuple(stack.services.values()) if services is None else tuple(services)
    containers = list_containers(engine, stack.project, services=[each.name for each in chosen])
    report = check_containers(engine, stack, chosen, containers, timeout_seconds=timeout_seconds)
    if deep:
        from owctl.health.deep.checks import run_deep_checks

        found = run_deep_checks(
            engine, stack, containers, report.services, timeout_seconds=timeout_seconds
        )
        report = replace(report, deep=found)
    return replace(report, duration_ms=(time.monotonic() - started) * 1000)


def check_containers(
    engine: "Engine",
    stack: Stack,
    services: Sequence[Service],
    containers: "Sequence[Container]",
    *,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    gating: bool = False,
) -> HealthReport:
    """Probe the containers of the services, as they were listed, at once."""
    if any(choose_probe(service).type in _OPEN for service in services):
        # Now, so that it delays no probe: the first to be asked would load it beside the others.
        import owctl.http_client  # noqa: F401
    started = time.monotonic()
    checked_at = datetime.now(UTC)
    checks = []
    for service in services:
        own = [container for container in containers if container.service == service.name]
        checks += [
            partial(
                check_container,
                engine,
                stack,
                service,
                each,
                timeout_seconds=timeout_seconds,
                gating=gating,
            )
            for each in own
        ]
        if not own and service.scale > 0:
            checks.append(partial(_missing, service))
    rows = at_once(checks)
    duration_ms = (time.monotonic() - started) * 1000
    return HealthReport(stack.project, checked_at, duration_ms, tuple(rows))


def check_container(
    engine: "Engine",
    stack: Stack,
    service: Service,
    container: "Container",
    *,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    gating: bool = False,
) -> ServiceHealth:
    """Return the verdict on one container as it was inspected; never raises for what it does.

    ``timeout_seconds`` bounds the probe. ``gating`` asks for the cheap form, for a caller that
    asks many times a second until it is healthy.
    """
    row = ServiceHealth(
        service=service.name,
        container=container.name,
        state=container.state,
        engine_health=container.engine_health,
        status="stopped",
        probe=None,
        target=None,
        latency_ms=None,
        detail="",
    )
    if container.state != "running":
        status, detail = _verdict_on_state(stack, service, container)
        return replace(row, status=status, detail=detail)
    name, target, result = _ask(engine, service, container, timeout_seconds, gating)
    result = _with_grace(engine, container, result)
    return replace(
        row,
        status=result.status,
        probe=name,
        target=target,
        latency_ms=result.latency_ms,
        detail=result.detail,
    )


def _missing(service: Service) -> ServiceHealth:
    return ServiceHealth(
        service.name, None, None, None, "missing", None, None, None, "there is no container"
    )


def _verdict_on_state(
    stack: Stack, service: Service, container: "Container"
) -> tuple[ServiceStatus, str]:
    ended = "" if container.exit_code is None else f"exited with {container.exit_code}"
    if container.oom_killed:
        ended = "killed: out of memory"
    if container.state == "paused":
        return "unhealthy", "paused"
    if container.state == "restarting":
        count = container.restart_count
        return "unhealthy", f"{ended or 'ended'}, the engine restarts it ({count} times so far)"
    if container.state == "created":
        reason = f": {container.error}" if container.error else ""
        return "stopped", f"created, but never started{reason}"
    if container.exit_code == 0 and container.state == "exited" and stack.is_one_shot(service.name):
        return "healthy", "completed"
    return "stopped", ended or container.state


def _ask(
    engine: "Engine",
    service: Service,
    container: "Container",
    timeout_seconds: float,
    gating: bool,
) -> tuple[str, str | None, ProbeResult]:
    """Return what gave the verdict, what was asked, and the verdict."""
    probe = choose_probe(service)
    source = "running" if container.engine_health is None else "engine"
    if probe.type == "none" or probe.port is None:
        if engine.is_podman and own_check(container) is not None:
            # It runs them by systemd's timers alone, which are not everywhere.
            result = run_own_check(engine, container, timeout_seconds=timeout_seconds)
            return "exec", container.name, result
        return source, None, engine_verdict(container)
    has_own_check = own_check(container) is not None
    address = find_address(engine, container, probe.port, openly=probe.type in _OPEN)
    if address is not None:
        result = _speak(probe, address, service, container, timeout_seconds, gating)
        # Another machine's firewall may let nobody in: its programs there know better.
        if result.answered or address.through or address.machine is None or not has_own_check:
            return probe.type, _target(probe, address), result
    if has_own_check:
        result = run_own_check(engine, container, timeout_seconds=timeout_seconds)
        return "exec", container.name, result
    result = engine_verdict(container)
    detail = f"not probed, port {probe.port} cannot be reached from here; {result.detail}"
    return source, None, replace(result, detail=detail)


def _speak(
    probe: Probe,
    address: Address,
    service: Service,
    container: "Container",
    timeout_seconds: float,
    gating: bool,
) -> ProbeResult:
    host, port = address.host, address.port
    way: _Way = {"timeout_seconds": timeout_seconds, "through": address.through}
    path = probe.path or "/"
    if probe.type == "http":
        return http.probe(host, port, path=path, **way)
    if probe.type == "socketio":
        return http.probe_socketio(host, port, path=path, gating=gating, **way)
    environment = target.container_environment(service, container)
    if probe.type == "redis":
        command = target.command_of(service, container)
        password = target.redis_password(environment, command)
        return wire.probe_redis(host, port, password=password, **way)
    login = credentials_of(environment)
    return wire.probe_postgres(host, port, user=login.user, database=login.database, **way)


def _target(probe: Probe, address: Address) -> str:
    return f"http://{address.authority}{probe.path}{address.whose}" if probe.path else str(address)


def _with_grace(engine: "Engine", container: "Container", result: ProbeResult) -> ProbeResult:
    """Call a failure ``starting`` while nothing has answered and the start is recent."""
    if result.status != "unhealthy":
        return result
    detail = result.detail
    if container.restart_count:
        detail += f" (restarted {container.restart_count} times)"
    age = _seconds_since(container.started_at, engine.now())
    if result.answered or age is None or age >= _grace_seconds(container):
        return replace(result, detail=detail)
    return replace(result, status="starting", detail=f"{detail}, started {age:.0f} s ago")


def _grace_seconds(container: "Container") -> float:
    check = (container.raw.get("Config") or {}).get("Healthcheck") or {}
    return max((check.get("StartPeriod") or 0) / 1e9, MINIMUM_GRACE_SECONDS)


def _seconds_since(moment: str | None, now: datetime) -> float | None:
    if moment is None:
        return None
    # The engine's clock may be ahead of ours.
    return max(0.0, (now - datetime.fromisoformat(moment)).total_seconds())
