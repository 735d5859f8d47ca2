"""A table that is drawn again in place, on stdout.

The cursor is never hidden and no other screen is opened: however owctl ends, the terminal is as it
was, with the last table on it.
"""

import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console as Screen
from rich.console import Group
from rich.live import Live
from rich.text import Text

from owctl.ui.table import Cell, Column, build


class _SteadyScreen(Screen):
    """A screen whose cursor stays visible."""

    def show_cursor(self, show: bool = True) -> bool:
        """Leave the cursor alone."""
        return False


class LiveTable:
    """Draws with ``show``; use it in ``with``."""

    def __init__(self, mask: Callable[[str], str], *, color: bool) -> None:
        self._mask = mask
        self._screen = _SteadyScreen(
            file=sys.stdout, no_color=not color, highlight=False, legacy_windows=False
        )
        self._live = Live(
            console=self._screen,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="ellipsis",
        )

    @property
    def width(self) -> int:
        """The terminal's columns, now."""
        return self._screen.width

    @property
    def ascii_only(self) -> bool:
        """Whether the terminal can say no more than ASCII."""
        return not self._screen.encoding.startswith("utf")

    def show(
        self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], footer: Sequence[Cell]
    ) -> None:
        """Draw the table, and the footer's lines below it, in place of what was drawn before."""
        masked = [[Cell(self._mask(cell.text), cell.style) for cell in row] for row in rows]
        lines = [
            Text(self._mask(cell.text), style=cell.style, no_wrap=True, overflow="ellipsis")
            for cell in footer
        ]
        self._live.update(Group(build(columns, masked), *lines), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()
