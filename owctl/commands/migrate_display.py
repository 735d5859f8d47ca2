"""The progress of a migration: one row a step, and one for the table that is loaded."""

import time

from owctl.backup.space import readable
from owctl.context import Context
from owctl.migrate.events import (
    MigrationEvent,
    MigrationWarning,
    StepProgress,
    TableProgress,
)
from owctl.ui.progress import Progress

_STEPS = {
    "stop-old": "old backend",
    "capture": "capture",
    "start-new": "new stack",
    "backup": "backup",
    "halt": "new backend",
    "load": "load",
    "files": "files",
    "start": "new stack again",
    "prove": "proof",
    "rollback": "rollback",
}


def rows_and_rate(rows: int, of_rows: int, began: float) -> str:
    """Return how far a table is, and how fast; ``began`` is by the monotonic clock, in seconds."""
    seconds = max(time.monotonic() - began, 0.001)
    share = min(rows, of_rows) * 100 // max(of_rows, 1)
    return f"{rows:,} of {of_rows:,} rows ({share} %), {rows / seconds:,.0f} rows/s"


class MigrationDisplay:
    """A receiver that draws what it is told, and keeps the warnings for the end."""

    def __init__(self, context: Context, progress: Progress, rows_subject: str = "load") -> None:
        self.context = context
        self._rows_subject = rows_subject
        self.progress = progress
        self.rows_done = 0
        self._table = ""
        self._began = time.monotonic()
        self._rows_before = 0

    def __call__(self, event: MigrationEvent) -> None:
        """Receive one event."""
        if isinstance(event, MigrationWarning):
            self.context.console.warn(event.text)
        elif isinstance(event, StepProgress):
            self._step(event)
        else:
            self._rows(event)

    def _step(self, event: StepProgress) -> None:
        name = _STEPS.get(event.step, event.step)
        if event.state == "done":
            self.progress.update(name, "done", event.detail or "done")
        elif event.state == "skipped":
            self.progress.update(name, "done", event.detail)
        else:
            self.progress.update(name, "working", event.detail or "begun")

    def _rows(self, event: TableProgress) -> None:
        if event.table != self._table:
            self._table, self._began = event.table, time.monotonic()
        if event.stage == "verified":
            self.rows_done += event.of_rows
            text = f"{event.table}: {event.of_rows:,} rows verified"
        elif event.stage == "verifying":
            text = f"{event.table}: verifying {event.of_rows:,} rows"
        else:
            text = f"{event.table}: {rows_and_rate(event.rows, event.of_rows, self._began)}"
        if event.sent_bytes:
            text += f", {readable(event.sent_bytes)}"
        self.progress.update(self._rows_subject, "working", text)
