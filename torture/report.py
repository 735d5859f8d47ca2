"""What was done and what came of it: one row a scenario of docs/reliability.md."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """The runs of one scenario, by their outcomes; a run that breaks a promise raises instead."""

    subject: str
    scenario: str
    runs: int = 0
    killed: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    def count(self, outcome: str, *, killed: bool = False) -> None:
        """Count one run; ``killed`` says that it did not end by itself."""
        self.runs += 1
        self.killed += killed
        self.outcomes[outcome] += 1

    @property
    def summary(self) -> str:
        """The outcomes and how many there were of each."""
        return ", ".join(f"{name}: {number}" for name, number in sorted(self.outcomes.items()))

    def __str__(self) -> str:
        return (
            f"{self.subject}: {self.scenario}: {self.runs} runs, {self.killed} killed; "
            f"{self.summary}"
        )
