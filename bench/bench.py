"""What every measure is given: the rounds, the rival's settings, and where to tell."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.breakdown import where_time_goes
from bench.results import Comparison
from bench.stack import Stack, clean_environment
from bench.timing import Measured, in_turn

OURS, RIVAL = "owctl", "rival"


@dataclass(frozen=True, slots=True)
class Bench:
    """One run. ``rounds`` replaces each measure's own number of rounds; ``full`` its moderate sizes."""

    docker_config: Path
    rounds: int | None = None
    full: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which everything is measured."""
        return clean_environment(self.docker_config)

    def stack(self, compose_file: str = "docker-compose.yaml", **settings: str | int) -> Stack:
        """Return a new project, nothing of it started."""
        return Stack(self.environment, compose_file, **settings)

    def tell(self, text: str) -> None:
        """Say what happens, on stderr."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def compare(
        self,
        measure: str,
        title: str,
        commands: tuple[str, str],
        measured: tuple[Measured, Measured],
        *,
        rounds: int,
        rival_rounds: int | None = None,
        budget: float | None = None,
        watched: tuple[Stack, Sequence[str]] | None = None,
    ) -> Comparison:
        """Run both in turn and compare. ``commands`` and ``measured`` are ours, then the rival's.

        ``watched``: the stack and the arguments with which a missed budget is looked into.
        """
        self.tell(f"{measure}: {title}")
        count = rounds if self.rounds is None else self.rounds
        samples = in_turn(
            {OURS: measured[0], RIVAL: measured[1]},
            {OURS: count, RIVAL: min(count, rival_rounds or count)},
            lambda text: self.tell(f"  {text}"),
        )
        found = Comparison(
            measure=measure,
            title=title,
            our_command=commands[0],
            rival_command=commands[1],
            ours=tuple(samples[OURS]),
            rival=tuple(samples[RIVAL]),
            budget=budget,
        )
        if found.verdict != "missed" or watched is None:
            return found
        return found.explained(self.where_time_goes(*watched))

    def where_time_goes(self, stack: Stack, arguments: Sequence[str]) -> tuple[str, ...]:
        """Run an owctl command in a stack's folder once more, and return where its time goes."""
        return where_time_goes(arguments, cwd=stack.folder, environment=stack.environment)
