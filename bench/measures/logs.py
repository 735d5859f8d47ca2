"""Reading long logs."""

import os
import subprocess
import time

from bench.bench import Bench
from bench.results import Comparison
from bench.stack import OWCTL, Stack
from bench.timing import CommandFailed

LINES = 500_000
PATIENCE_SECONDS = 120
MEMORY_BYTES = 64_000_000  # above what it takes to start


def logs(bench: Bench) -> list[Comparison]:
    """Compare printing all of one service's log."""
    with bench.stack("logs.yaml", LOG_LINES=LINES) as stack:
        stack.compose("up", "-d")
        _wait_until_written(stack)
        _check_whole(stack)
        return [
            bench.compare(
                "logs",
                f"{LINES:,} lines of one service",
                ("owctl logs", "docker compose logs"),
                (lambda: stack.owctl("logs"), lambda: stack.compose("logs")),
                rounds=5,
                budget=0.85,
                watched=(stack, ["logs"]),
            )
        ]


def _wait_until_written(stack: Stack) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    last = f"request {LINES}"
    while last not in stack.output("docker", "compose", "logs", "--tail", "1"):
        if time.monotonic() > deadline:
            raise CommandFailed(f"the {LINES} lines were not written in {PATIENCE_SECONDS} s")
        time.sleep(0.5)


def _check_whole(stack: Stack) -> None:
    """Raise CommandFailed unless every line is printed, in little more memory than none takes."""
    count, peak_bytes = _read(stack)
    if count != LINES:
        raise CommandFailed(f"owctl logs printed {count} lines of {LINES}")
    _, start_bytes = _read(stack, "--tail", "0")
    if peak_bytes - start_bytes > MEMORY_BYTES:
        growth = (peak_bytes - start_bytes) / 1e6
        raise CommandFailed(f"owctl logs took {growth:.0f} MB above its start")


def _read(stack: Stack, *options: str) -> tuple[int, int]:
    """Return the number of lines that ``owctl logs`` prints, and its peak of memory in bytes."""
    with subprocess.Popen(
        [OWCTL, "logs", *options],
        cwd=stack.folder,
        env=stack.environment,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        count = sum(1 for _ in process.stdout)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return count, usage.ru_maxrss * 1024
