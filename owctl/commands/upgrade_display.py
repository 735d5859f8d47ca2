"""How the replacing of containers looks while it happens: a row a container."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from owctl.ui.console import Console
    from owctl.ui.progress import Progress
    from owctl.upgrade.events import RollEvent


class RollDisplay:
    """Receives what an upgrade or a rollback tells, and draws it."""

    def __init__(self, console: "Console", progress: "Progress") -> None:
        self.console = console
        self.progress = progress
        self._at_work: str | None = None

    def __call__(self, event: "RollEvent") -> None:
        """Receive one event; one without a subject is about all of it."""
        if event.subject:
            self._at_work = event.subject if event.state == "working" else None
            self.progress.update(event.subject, event.state, event.text)
            return
        if self._at_work is not None:
            self.progress.update(self._at_work, "failed", "did not become ready")
        self.console.warn(event.text[0].upper() + event.text[1:])
