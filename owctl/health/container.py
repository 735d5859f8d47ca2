"""Verdicts that need no protocol: the container's own health check, and the engine's opinion."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from owctl.errors import OwctlError
from owctl.health.result import ProbeResult, printable

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container

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
