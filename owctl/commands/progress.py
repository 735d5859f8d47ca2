"""How work looks while it goes on: events as rows and warnings, for every command that changes something."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from owctl.figures import rate_text, readable
from owctl.progress import Event

if TYPE_CHECKING:
    from owctl.ui.console import Console
    from owctl.ui.progress import Progress, RowState

# What happens in a step, by its kind.
_WORDS = {
    "pull": "pulling",
    "build": "building",
    "network": "creating",
    "volume": "creating",
    "create": "creating the container",
    "replace": "replacing the container",
    "start": "starting",
    "ready": "waiting until it answers",
    "reach": "asking through it",
    "restart": "restarting",
    "stop": "stopping",
    "rename": "renaming the container",
    "remove": "removing",
    "keep": "keeping the container",
    "remove-network": "removing",
    "remove-volume": "removing",
    "remove-image": "removing",
}
_IN_BYTES = ("member", "transfer", "drill")


def rows_and_rate(rows: int, of_rows: int, began: float) -> str:
    """Return how far a table is, and how fast; ``began`` is by the monotonic clock, in seconds."""
    seconds = max(time.monotonic() - began, 0.001)
    share = min(rows, of_rows) * 100 // max(of_rows, 1)
    return f"{rows:,} of {of_rows:,} rows ({share} %), {rows / seconds:,.0f} rows/s"


class Display:
    """Draws the events of any work in one progress display.

    ``names`` are what the user knows subjects by. With ``row`` all is told in that one row, which
    the caller ends.
    """

    def __init__(
        self,
        console: "Console",
        progress: "Progress",
        *,
        names: Mapping[str, str] | None = None,
        prefix: str = "",
        row: str | None = None,
    ) -> None:
        self.console = console
        self.progress = progress
        self.rows_done = 0
        self._names = names or {}
        self._prefix = prefix
        self._row = row
        self._began: dict[str, float] = {}
        self._rates: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        """Receive one event."""
        if event.state == "warning":
            self.console.warn(event.text)
        elif self._row is not None:
            self._update_one_row(event, self._row)
        elif event.kind in _IN_BYTES:
            drill = " (drill)" if event.kind == "drill" else ""
            self._update(
                self._prefix + event.subject + drill, event, self._in_bytes(event, event.text)
            )
        elif event.kind == "rows":
            self._update(event.subject, event, self._in_rows(event))
        elif event.state == "passed":
            if event.kind == "create":
                self.progress.update(event.subject, "waiting", "waiting for what it depends on")
        else:
            text = _WORDS.get(event.kind, event.text) if event.state == "started" else event.text
            if event.kind == "ready" and event.state == "working":
                text = f"waiting: {text}"
            self._update(self._names.get(event.subject, event.subject), event, text)

    def _update(self, subject: str, event: Event, text: str) -> None:
        state: RowState = "working"
        if event.state in ("waiting", "done", "failed"):
            state = event.state
        self.progress.update(subject, state, text)

    def _update_one_row(self, event: Event, row: str) -> None:
        if event.kind == "drill":
            text = self._in_bytes(event, f"{event.subject}: {event.text}")
            self.progress.update(row, "working", text)
        elif event.state == "working":
            text = self._in_bytes(event, f"{event.text} {event.subject}")
            self.progress.update(row, "working", text)

    def _in_bytes(self, event: Event, text: str) -> str:
        size, rate = readable(event.done), self._rate(event)
        if event.state == "done" and event.kind != "drill":
            return ", ".join(filter(None, (text, size))) + rate
        if event.total:
            size += f" of {readable(event.total)}"
        return f"{text}: {size}{rate}" if event.done or event.total else text

    def _rate(self, event: Event) -> str:
        """Return the rate of what moved; what is verified keeps that at which it was written."""
        name, now = event.subject, time.monotonic()
        if event.moved or event.text == "writing":
            self._rates[name] = rate_text(event.moved, now - self._began.setdefault(name, now))
        elif event.kind != "member" or event.state != "done":
            return ""
        return self._rates.get(name, "")

    def _in_rows(self, event: Event) -> str:
        began = self._began.setdefault(event.item, time.monotonic())
        if event.text == "verified":
            self.rows_done += event.total
            text = f"{event.total:,} rows verified"
        elif event.text == "verifying":
            text = f"verifying {event.total:,} rows"
        else:
            text = rows_and_rate(event.done, event.total, began)
        sent = f", {readable(event.moved)}" if event.moved else ""
        return f"{event.item}: {text}{sent}"
