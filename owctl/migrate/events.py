"""What a migration tells while it works; the command line turns it into text."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

TableStage = Literal["loading", "verifying", "verified"]
StepState = Literal["started", "progress", "done", "skipped"]


@dataclass(frozen=True, slots=True)
class TableProgress:
    """How far a table is: rows of the source that were read, of how many; bytes that were sent."""

    table: str
    stage: TableStage
    rows: int
    of_rows: int
    sent_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StepProgress:
    """A step of the guided run, or what it is at."""

    step: str
    state: StepState
    detail: str = ""


@dataclass(frozen=True, slots=True)
class MigrationWarning:
    """Something that the user must know; it also stands in the report."""

    text: str


MigrationEvent = TableProgress | StepProgress | MigrationWarning
Receiver = Callable[[MigrationEvent], None]


def ignore(_: MigrationEvent) -> None:
    """Receive and drop: for callers that show nothing."""
