"""The command line of the torture: choose scenarios, run them, write the page with the figures."""

import argparse
import secrets
import sys
import time
from pathlib import Path
from random import Random

from torture.page import render
from torture.report import Tally
from torture.scenarios import SCENARIOS
from torture.subject import Trouble

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reliability.md"


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the choices of the command line; exits with 2 when they make no sense."""
    parser = argparse.ArgumentParser(
        prog="scripts/torture",
        description="Kill owctl and the engine, fill disks, damage backups. Without names everything "
        "is done, and docs/reliability.md is written.",
    )
    parser.add_argument("scenarios", nargs="*", metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--count", type=int, metavar="N", help="how often, in place of the default")
    parser.add_argument(
        "--seed", type=int, metavar="N", help="repeat the moments of an earlier run"
    )
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.scenarios if name not in SCENARIOS]:
        parser.error(f"{', '.join(unknown)}: not one of {', '.join(SCENARIOS)}")
    return chosen


def main() -> int:
    """Run the scenarios; 1 if something did not hold in one of them."""
    chosen = parse(sys.argv[1:])
    seed = secrets.randbelow(1_000_000) if chosen.seed is None else chosen.seed
    tallies: list[Tally] = []
    troubles = 0
    began = time.monotonic()
    for name in chosen.scenarios or SCENARIOS:
        scenario, count = SCENARIOS[name]
        try:
            tally = scenario(count if chosen.count is None else chosen.count, Random(seed))
        except Trouble as trouble:
            said = "\n".join([str(trouble), *getattr(trouble, "__notes__", ())])
            sys.stderr.write(f"{name} (--seed {seed}): {said}\n")
            troubles += 1
            continue
        print(tally, flush=True)
        tallies.append(tally)
    if troubles:
        return 1
    if not chosen.scenarios and chosen.count is None:
        PAGE.write_text(render(tallies, seed, time.monotonic() - began, PAGE.read_text()))
        sys.stderr.write(f"Written: {PAGE}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
