"""What a backup tells while it works; the command line turns it into text."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from owctl.lifecycle.plan import StepEvent

Stage = Literal["writing", "written", "verifying", "verified", "damaged"]


@dataclass(frozen=True, slots=True)
class MemberProgress:
    """How far a member is: ``done_bytes`` of content, before compression."""

    member: str
    stage: Stage
    done_bytes: int


@dataclass(frozen=True, slots=True)
class BackupWarning:
    """Something about the backup that the user must know; it also stands in the manifest."""

    text: str


BackupEvent = MemberProgress | BackupWarning | StepEvent
Receiver = Callable[[BackupEvent], None]


def ignore(_: BackupEvent) -> None:
    """Receive and drop: for callers that show nothing."""
