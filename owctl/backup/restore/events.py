"""What a restore tells while it works; the command line turns it into text."""

from collections.abc import Callable

from owctl.backup.events import BackupEvent
from owctl.changeover.transaction import RestoreProgress, RestoreWarning
from owctl.lifecycle.plan import ServicesPlan, StepEvent

RestoreEvent = RestoreProgress | RestoreWarning | ServicesPlan | StepEvent | BackupEvent
Receiver = Callable[[RestoreEvent], None]


def ignore(_: RestoreEvent) -> None:
    """Receive and drop: for callers that show nothing."""
