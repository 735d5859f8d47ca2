"""Live progress on stderr: one row a subject on a terminal, one line a change elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import RenderableType

Mask = Callable[[str], str]
RowState = Literal["waiting", "working", "done", "failed"]
MARKS: dict[str, tuple[str, str]] = {
    "waiting": ("·", "dim"),
    "working": ("…", "cyan"),
    "done": ("✓", "green"),
    "failed": ("✗", "bold red"),
}

# In a file or a pipe, how often a subject that is still being worked on is spoken of.
SECONDS_BETWEEN_LINES = 15.0


@dataclass(slots=True)
class Row:
    """What is known of one subject; times are of the monotonic clock, in seconds."""

    state: RowState = "waiting"
    text: str = ""
    started: float | None = None
    ended: float | None = None
    next_line_seconds: float = 1.0

    def elapsed_seconds(self) -> float | None:
        """Return how long the subject has been worked on, None before it began."""
        if self.started is None:
            return None
        return (self.ended or time.monotonic()) - self.started


class Progress:
    """Rows by subject, safe to update from several threads.

    The base class draws plain lines: one for each outcome, and some for what takes long.
    """

    def __init__(self, title: str, mask: Mask, *, quiet: bool = False) -> None:
        self.title = title
        self.mask = mask
        self.quiet = quiet
        self.rows: dict[str, Row] = {}
        self.lock = threading.RLock()

    def update(self, subject: str, state: RowState, text: str) -> None:
        """Say what happens to a subject; its time runs while it is not ``waiting``."""
        with self.lock:
            row = self.rows.setdefault(subject, Row())
            if state == "waiting":
                row.started = None
            elif row.started is None:
                row.started = time.monotonic()
            if state in ("done", "failed"):
                row.ended = time.monotonic()
            elif state == "working":
                row.ended = None
            changed = (row.state, row.text) != (state, text)
            row.state, row.text = state, text
            # What is still being worked on is spoken of now and then, also where nothing changes.
            if changed or state == "working":
                self.changed(subject, row)

    def changed(self, subject: str, row: Row) -> None:
        """Print a line for each outcome, and now and then for what takes long."""
        if self.quiet or row.state == "waiting":
            return
        elapsed = row.elapsed_seconds() or 0.0
        if row.state == "working":
            if elapsed < row.next_line_seconds:
                return
            row.next_line_seconds = max(elapsed, row.next_line_seconds) + SECONDS_BETWEEN_LINES
        seconds = f" ({elapsed:.1f} s)"
        mark = MARKS[row.state][0]
        sys.stderr.write(self.mask(f"{mark} {subject}: {row.text}{seconds}") + "\n")
        sys.stderr.flush()

    def print(self, text: str) -> None:
        """Print a line of text beside the display."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


class LiveProgress(Progress):
    """Rows that are redrawn in place."""

    def __init__(self, title: str, mask: Mask, *, color: bool) -> None:
        from rich.console import Console as Screen
        from rich.live import Live

        super().__init__(title, mask)
        self.screen = Screen(file=sys.stderr, no_color=not color, highlight=False)
        self.display = Live(
            console=self.screen,
            get_renderable=self.draw,
            refresh_per_second=10,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def changed(self, subject: str, row: Row) -> None:
        """Leave drawing to the refresh."""

    def print(self, text: str) -> None:
        """Print above the rows."""
        from rich.text import Text

        self.screen.print(Text.from_ansi(text))

    def draw(self) -> "RenderableType":
        """Return the rows as they stand."""
        from rich.table import Table
        from rich.text import Text

        with self.lock:
            done = sum(row.state == "done" for row in self.rows.values())
            width = max((len(subject) for subject in self.rows), default=0)
            table = Table.grid(padding=(0, 1), expand=True)
            table.add_column(width=1)
            table.add_column(width=width, no_wrap=True)
            table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
            table.add_column(justify="right", width=7, no_wrap=True)
            for subject, row in self.rows.items():
                mark, style = MARKS[row.state]
                elapsed = row.elapsed_seconds()
                table.add_row(
                    Text(mark, style),
                    Text(subject),
                    Text(self.mask(row.text), "dim" if row.state == "waiting" else ""),
                    Text(f"{elapsed:.1f} s" if elapsed is not None else "", "dim"),
                )
            outer = Table.grid(expand=True)
            outer.add_row(Text(f"{self.title} {done}/{len(self.rows)}", "bold"))
            outer.add_row(table)
            return outer


@contextmanager
def open_progress(
    title: str, mask: Mask, *, live: bool, color: bool, quiet: bool
) -> Iterator[Progress]:
    """Yield a display for the length of a block; the last state stays on the screen."""
    if not live:
        yield Progress(title, mask, quiet=quiet)
        return
    progress = LiveProgress(title, mask, color=color)
    with progress.display:
        yield progress
