"""What a transfer tells while it works; the command line turns it into text."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["hashing", "sending", "checking", "fetching", "trying again", "done"]


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """How far a member is: ``done_bytes`` of ``size_bytes`` as stored.

    ``moved_bytes`` went over the line in this run; what was there already did not.
    """

    member: str
    stage: Stage
    done_bytes: int
    size_bytes: int
    moved_bytes: int = 0


Receiver = Callable[[TransferProgress], None]


def ignore(_: TransferProgress) -> None:
    """Receive and drop: for callers that show nothing."""
