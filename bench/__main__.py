"""The command line of the bench: choose, run, report."""

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from bench.bench import Bench
from bench.machine import Watch
from bench.measures import asking, backup, logs, migrate, restore, starting
from bench.report import render, summary
from bench.results import Comparison
from bench.stack import ROOT, missing_images
from bench.timing import CommandFailed

MEASURES: dict[str, Callable[[Bench], list[Comparison]]] = {
    "start": starting.cold,
    "warm": starting.warm,
    "stop": starting.stop,
    "status": asking.status,
    "health": asking.health,
    "stats": asking.stats,
    "help": asking.help_text,
    "logs": logs.logs,
    "backup": backup.backup,
    "restore": restore.restore,
    "migrate": migrate.migrate,
}
PAGE = ROOT / "docs" / "benchmarks.md"


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the choices of the command line; exits with 2 when they make no sense."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Compare owctl with docker compose and shell pipelines. Without names everything is "
        "measured (about 11 minutes) and docs/benchmarks.md is written.",
    )
    parser.add_argument(
        "measures", nargs="*", metavar="NAME", help=f"some of {', '.join(MEASURES)}"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="runs of each command")
    parser.add_argument("--full", action="store_true", help="back up 400 + 300 MB, not 200 + 100")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the page there")
    parser.add_argument("--docker-config", type=Path, required=True, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.measures if name not in MEASURES]:
        parser.error(f"{', '.join(unknown)}: not one of {', '.join(MEASURES)}")
    if chosen.rounds is not None and chosen.rounds < 1:
        parser.error("--rounds must be 1 or more")
    return chosen


def _terminated(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Measure, print the ratios, write the page; 1 when a command failed, 130 when interrupted."""
    chosen = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, _terminated)
    signal.signal(signal.SIGHUP, _terminated)
    bench = Bench(chosen.docker_config, rounds=chosen.rounds, full=chosen.full)
    if missing := missing_images(bench.environment):
        sys.stderr.write(f"scripts/bench: {', '.join(missing)}: not built; `make demo` does\n")
        return 1
    watch = Watch(ROOT)
    comparisons: list[Comparison] = []
    try:
        for name in chosen.measures or MEASURES:
            comparisons += MEASURES[name](bench)
            watch.look()
    except KeyboardInterrupt:
        sys.stderr.write("scripts/bench: interrupted; what it had made is removed\n")
        return 130
    except CommandFailed as error:
        sys.stderr.write(f"scripts/bench: {error}\n")
        return 1
    print(summary(comparisons), end="")
    page = chosen.output or (None if chosen.measures else PAGE)
    if page is not None:
        page.write_text(render(comparisons, watch.describe(bench.environment)))
        sys.stderr.write(f"Written: {page}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
