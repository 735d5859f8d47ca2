"""What is asked often: help, status, health, stats."""

import sys

from bench.bench import Bench
from bench.results import Comparison
from bench.stack import HTTP_PORTS, RIVAL


def help_text(bench: Bench) -> list[Comparison]:
    """Compare `--help` with the least that any program with click needs."""
    with bench.stack() as stack:
        return [
            bench.compare(
                "help",
                "the help",
                ("owctl --help", 'python -c "import click"'),
                (
                    lambda: stack.owctl("--help"),
                    lambda: stack.timed(sys.executable, "-c", "import click"),
                ),
                rounds=15,
                budget=2.5,
                watched=(stack, ["--help"]),
            )
        ]


def status(bench: Bench) -> list[Comparison]:
    """Compare the list of containers."""
    with bench.stack() as stack:
        stack.owctl("start")
        return [
            bench.compare(
                "status",
                "the list of the containers",
                ("owctl status", "docker compose ps"),
                (lambda: stack.owctl("status"), lambda: stack.compose("ps")),
                rounds=10,
            )
        ]


def health(bench: Bench) -> list[Comparison]:
    """Compare the question whether everything works with the original script's steps."""
    with bench.stack() as stack:
        stack.owctl("start")
        ports = [str(stack.ports[name]) for name in HTTP_PORTS]
        return [
            bench.compare(
                "health",
                "whether the five services work",
                ("owctl health", "the script's steps (bench/rival/health.sh)"),
                (
                    lambda: stack.owctl("health"),
                    lambda: stack.timed(RIVAL / "health.sh", *ports),
                ),
                rounds=10,
                budget=0.5,
                watched=(stack, ["health"]),
            )
        ]


def stats(bench: Bench) -> list[Comparison]:
    """Compare one look at what the containers consume."""
    with bench.stack() as stack:
        stack.owctl("start")
        containers = stack.ids("container")
        return [
            bench.compare(
                "stats",
                "what the five containers consume, once",
                ("owctl stats --no-stream", "docker stats --no-stream, the five named"),
                (
                    lambda: stack.owctl("stats", "--no-stream"),
                    lambda: stack.timed("docker", "stats", "--no-stream", *containers),
                ),
                rounds=7,
                budget=1.0,
                watched=(stack, ["stats", "--no-stream"]),
            )
        ]
