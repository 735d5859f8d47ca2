"""Reading long logs."""

import subprocess
import time

from bench.bench import Bench
from bench.results import Comparison
from bench.stack import OWCTL, Stack
from bench.timing import CommandFailed

LINES = 500_000
PATIENCE_SECONDS = 120


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
    with subprocess.Popen(
        [OWCTL, "logs"], cwd=stack.folder, env=stack.environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        count = sum(1 for _ in process.stdout)
    if count != LINES:
        raise CommandFailed(f"owctl logs printed {count} lines of {LINES}")
