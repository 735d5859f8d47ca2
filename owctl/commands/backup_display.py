"""How a backup looks while it is made: bytes and rate by member, and services that stand still."""

import time
from typing import TYPE_CHECKING

from owctl.commands.mutation import WORDS

if TYPE_CHECKING:
    from owctl.backup.events import BackupEvent, MemberProgress
    from owctl.lifecycle.plan import StepEvent
    from owctl.ui.console import Console
    from owctl.ui.progress import Progress

# Below it a rate says nothing.
_LEAST_SECONDS = 0.2


class BackupDisplay:
    """Receives a backup's events and draws them; ``verify`` says whether members are read back."""

    def __init__(self, console: "Console", progress: "Progress", *, verify: bool) -> None:
        self.console = console
        self.progress = progress
        self.verify = verify
        self._began: dict[str, float] = {}
        self._rates: dict[str, str] = {}

    def __call__(self, event: "BackupEvent") -> None:
        """Receive one event."""
        from owctl.backup.events import BackupWarning, MemberProgress

        if isinstance(event, BackupWarning):
            self.console.warn(event.text)
        elif isinstance(event, MemberProgress):
            self._member(event)
        else:
            self._step(event)

    def _member(self, event: "MemberProgress") -> None:
        from owctl.backup.space import readable

        name, size = event.member, readable(event.done_bytes)
        if event.stage == "writing":
            began = self._began.setdefault(name, time.monotonic())
            rate = self._rate(event.done_bytes, began)
            self.progress.update(
                name, "working", f"writing: {size}{rate}" if event.done_bytes else "writing"
            )
        elif event.stage == "written":
            began = self._began.get(name, time.monotonic())
            self._rates[name] = self._rate(event.done_bytes, began)
            text = "written" if self.verify else f"written, {size}{self._rates[name]}"
            self.progress.update(name, "working" if self.verify else "done", text)
        elif event.stage == "verifying":
            self.progress.update(name, "working", "verifying")
        else:
            rate = self._rates.get(name, "")
            self.progress.update(name, "done", f"verified, {size}{rate}")

    @staticmethod
    def _rate(done_bytes: int, began: float) -> str:
        seconds = time.monotonic() - began
        return f", {done_bytes / seconds / 1e6:.1f} MB/s" if seconds >= _LEAST_SECONDS else ""

    def _step(self, event: "StepEvent") -> None:
        step = event.step
        if event.phase == "failed":
            self.progress.update(step.subject, "failed", event.detail)
        elif event.phase == "finished" and step.kind in ("stop", "ready", "reach"):
            self.progress.update(step.subject, "done", event.detail)
        elif event.phase == "progress" and step.kind == "ready":
            self.progress.update(step.subject, "working", f"waiting: {event.detail}")
        else:
            self.progress.update(step.subject, "working", WORDS[step.kind])
