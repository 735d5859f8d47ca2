"""What a restore tells while it works; the command line turns it into text."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from owctl.backup.events import BackupEvent
from owctl.lifecycle.plan import ServicesPlan, StepEvent

State = Literal["working", "done"]


@dataclass(frozen=True, slots=True)
class RestoreProgress:
    """What happens to a subject: the database, a volume, a member of the backup."""

    subject: str
    state: State
    text: str


@dataclass(frozen=True, slots=True)
class RestoreWarning:
    """Something that the user must know, and that does not stop the restore."""

    text: str


RestoreEvent = RestoreProgress | RestoreWarning | ServicesPlan | StepEvent | BackupEvent
Receiver = Callable[[RestoreEvent], None]


def ignore(_: RestoreEvent) -> None:
    """Receive and drop: for callers that show nothing."""
