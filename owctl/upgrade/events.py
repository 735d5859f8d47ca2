"""What an upgrade tells while it works; the command line turns it into text."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

RollState = Literal["waiting", "working", "done", "failed"]


@dataclass(frozen=True, slots=True)
class RollEvent:
    """How far a container's replacement is; ``subject`` is what the user knows it by."""

    subject: str
    state: RollState
    text: str


Receiver = Callable[[RollEvent], None]


def ignore(_: RollEvent) -> None:
    """Receive and drop: for callers that show nothing."""
