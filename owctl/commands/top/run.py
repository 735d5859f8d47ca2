"""One screen of everything, drawn again and again, and its keys."""

import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from owctl.commands.top.feeds import Feeds, Restart, ShownLines, run_shell
from owctl.commands.top.rows import (
    KEYS,
    LOG_FOOTER,
    MAIN_FOOTER,
    Action,
    Row,
    TopModel,
    detail,
    matching,
    rows_of,
    table,
)
from owctl.context import Context
from owctl.errors import Interrupted
from owctl.figures import clock_text
from owctl.ui.full_screen import FullScreen
from owctl.ui.log_text import service_colors
from owctl.ui.table import Cell
from owctl.ui.top_screen import TopScreen, TopView

if TYPE_CHECKING:
    from collections.abc import Iterator

    from owctl.ui.top_screen import LogLine

TICK_SECONDS = 1.0
# However much is logged, the screen is drawn no more often.
LEAST_SECONDS_BETWEEN_DRAWINGS = 0.1


class Top:
    """One run of `owctl top`."""

    def __init__(self, context: Context, interval_seconds: float) -> None:
        self._context = context
        self._stack = context.stack
        colored = context.console.colored(sys.stdout)
        encoding = sys.stdout.encoding
        self._screen = FullScreen(sys.stdin.fileno(), sys.stdout.fileno(), encoding)
        ascii_only = not encoding.lower().startswith("utf")
        self._drawing = TopScreen(color=colored, ascii_only=ascii_only)
        self._feeds = Feeds(context, interval_seconds, self._screen.wake)
        self._model = TopModel()
        self._restart: Restart | None = None
        self._rows: list[Row] = []
        self._lines: list[tuple[int, LogLine]] = []
        self._page = 1
        self._shown = ShownLines(
            context.mask_for(self._stack).mask_bytes,
            service_colors(self._stack.services) if colored else {},
        )

    def run(self) -> None:
        """Show the screen until it is left; the terminal is then as it was.

        Raises KeyboardInterrupt, Interrupted, and what a thread met that it cannot explain.
        """
        try:
            with self._screen:
                self._feeds.start()
                self._loop()
        finally:
            self._feeds.stop()
            if self._restart is not None and self._restart.outcome() is None:
                self._context.console.info(
                    f"The restart of {self._restart.service} goes on; `owctl history` shows how it ends."
                )

    def _loop(self) -> None:
        while True:
            if self._feeds.crash is not None:
                raise self._feeds.crash
            self._look_at_restart()
            drawn = time.monotonic()
            self._draw()
            keys = self._screen.keys(TICK_SECONDS)
            if keys is None:
                raise Interrupted("The terminal is gone.")
            for key in keys:
                action = self._model.press(
                    key, self._rows, [number for number, _ in self._lines], self._page
                )
                if action is not None and action.kind == "quit":
                    return
                if action is not None:
                    self._do(action)
                self._collect()
            if not keys:
                pause = drawn + LEAST_SECONDS_BETWEEN_DRAWINGS - time.monotonic()
                time.sleep(max(0.0, pause))

    def _do(self, action: Action) -> None:
        row = action.row
        if action.kind == "redraw" or row is None:
            self._screen.redraw()
        elif action.kind == "restart":
            self._begin_restart(row)
        elif not row.is_running:
            self._model.tell(f"{row.name} is not running: there is nothing to go into.", bad=True)
        else:
            with self._screen.suspended(), _interrupts_left_to_others():
                run_shell(self._context, row)

    def _begin_restart(self, row: Row) -> None:
        if self._restart is not None:
            self._model.tell(f"{self._restart.service} is still being restarted.", bad=True)
            return
        self._restart = Restart(self._context, row.service, self._screen.wake)

    def _look_at_restart(self) -> None:
        outcome = self._restart.outcome() if self._restart is not None else None
        if outcome is not None:
            self._restart = None
            self._model.tell(outcome[1], bad=not outcome[0])

    def _collect(self) -> None:
        """Put together what is to be seen now."""
        feeds, model = self._feeds, self._model
        names = [name for name, service in self._stack.services.items() if service.scale > 0]
        self._rows = matching(rows_of(feeds.usage, feeds.health, names), model.filter)
        only = model.row(self._rows) if model.only_selected else None
        self._lines = self._shown.choose(feeds.logs.entries(), model.filter, only)

    def _draw(self) -> None:
        self._collect()
        width, height = self._screen.size
        self._screen.show(self._drawing.lines(self._view(width), width, height))
        self._page = max(1, self._drawing.shown_log_lines)

    def _view(self, width: int) -> TopView:
        model, mask = self._model, self._context.console.mask
        asked = self._feeds.usage is not None and self._feeds.trouble is None
        columns, cells = table(self._rows, width, asked=asked)
        row = model.row(self._rows)
        about = detail(row, self._context.engine.now()) if row is not None else Cell("")
        newer = model.newer_below([number for number, _ in self._lines], self._page)
        return TopView(
            title=Cell(self._stack.project, "bold"),
            status=self._status(),
            columns=columns,
            rows=cells,
            selected=self._rows.index(row) if row is not None else None,
            detail=Cell(mask(about.text), about.style),
            log_title=self._log_title(row, newer),
            logs=[line for _, line in self._lines[: len(self._lines) - newer]],
            footer=self._footer(),
            full_logs=model.whole_log,
            help=KEYS if model.help else (),
        )

    def _status(self) -> Cell:
        now = clock_text()
        report = self._feeds.health
        if self._feeds.trouble is not None:
            return Cell(f"no answer  {now}", "bold red")
        if report is None:
            return Cell(f"…  {now}", "dim")
        healthy = sum(row.status == "healthy" for row in report.services)
        style = "bold green" if report.status == "healthy" else "bold red"
        return Cell(f"{report.status}, {healthy} of {len(report.services)}  {now}", style)

    def _log_title(self, row: Row | None, newer: int) -> str:
        model = self._model
        title = "newest log lines"
        if model.only_selected and row is not None:
            title = f"log of {row.service}"
        if model.filter:
            title += f' with "{model.filter}"'
        return title + (f", {newer} newer below" if newer else "")

    def _footer(self) -> Cell:
        model, mask = self._model, self._context.console.mask
        if model.asked is not None:
            return Cell(f"Restart {model.asked.service}? y/n", "bold")
        if model.typing:
            return Cell(f"Filter: {model.filter}█  (Enter keeps it, Esc drops it)", "bold")
        if model.message:
            return Cell(mask(model.message), "bold red" if model.message_is_bad else "bold green")
        if self._restart is not None:
            return Cell(
                f"Restarting {self._restart.service} … {self._restart.seconds:.0f} s", "bold"
            )
        if self._feeds.trouble is not None:
            return Cell(mask(self._feeds.trouble.message), "bold red")
        if model.help:
            return Cell("any key: back", "dim")
        return Cell(LOG_FOOTER if model.whole_log else MAIN_FOOTER, "dim")


@contextmanager
def _interrupts_left_to_others() -> "Iterator[None]":
    """Let Ctrl-C be for the program that has the terminal meanwhile."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
