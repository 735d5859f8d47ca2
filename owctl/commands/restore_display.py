"""A restore's events as progress and warnings."""

from typing import TYPE_CHECKING

from owctl.commands.backup_display import BackupDisplay
from owctl.commands.mutation import WORDS, StepDisplay
from owctl.context import Context
from owctl.lifecycle.plan import StepEvent

if TYPE_CHECKING:
    from owctl.backup.restore.events import RestoreEvent
    from owctl.ui.progress import Progress


class RestoreDisplay:
    """Draws the events of a restore in one progress display."""

    def __init__(self, context: Context, progress: "Progress") -> None:
        self.context = context
        self.progress = progress
        self.steps: StepDisplay | None = None
        self.backup = BackupDisplay(context.console, progress, verify=True)

    def __call__(self, event: "RestoreEvent") -> None:
        """Receive one event."""
        from owctl.backup.restore.events import RestoreProgress, RestoreWarning, ServicesPlan

        if isinstance(event, RestoreWarning):
            self.context.console.warn(event.text)
        elif isinstance(event, RestoreProgress):
            self.progress.update(event.subject, event.state, event.text)
        elif isinstance(event, ServicesPlan):
            self.steps = StepDisplay(self.progress, event.plan)
        elif isinstance(event, StepEvent):
            self._step(event)
        else:
            # The safety backup's.
            self.backup(event)

    def _step(self, event: StepEvent) -> None:
        if self.steps is not None and event.step.subject in self.steps.last:
            self.steps(event)
            return
        state = {"finished": "done", "failed": "failed"}.get(event.phase, "working")
        text = event.detail or WORDS[event.step.kind]
        self.progress.update(event.step.subject, state, text)  # type: ignore[arg-type]
