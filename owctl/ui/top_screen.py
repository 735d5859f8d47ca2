"""The screen of `owctl top`, line by line, for whatever size the terminal has."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console as Screen
from rich.text import Text

from owctl.ui.log_text import paint
from owctl.ui.table import Cell, Column, build

if TYPE_CHECKING:
    from rich.console import RenderableType

# Title, header of the table, detail, title of the logs, footer.
_FIXED_LINES = 5
_MOST_FOOTER_LINES = 3
_LEAST_LOG_LINES = 3
SELECTED = "reverse"


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a log; ``color`` is the SGR code of its service, "" for none."""

    label: str
    color: str
    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class TopView:
    """All that is to be seen. ``selected`` is an index of ``rows``, None where there are none.

    ``logs`` are the newest lines, oldest first; what does not fit is left out at the top. ``full_logs``
    gives them the whole screen, ``help`` shows the keys in place of everything.
    """

    title: Cell
    status: Cell
    columns: Sequence[Column] = ()
    rows: Sequence[Sequence[Cell]] = ()
    selected: int | None = None
    detail: Cell = field(default_factory=lambda: Cell(""))
    log_title: str = ""
    logs: Sequence[LogLine] = ()
    footer: Cell = field(default_factory=lambda: Cell(""))
    full_logs: bool = False
    help: Sequence[tuple[str, str]] = ()


class TopScreen:
    """Turns views into lines of text; ``color`` as the console has it."""

    def __init__(self, *, color: bool, ascii_only: bool = False) -> None:
        self._color = color
        self._dash = "-" if ascii_only else "─"
        self.shown_log_lines = 0

    def lines(self, view: TopView, width: int, height: int) -> list[str]:
        """Return ``height`` lines of at most ``width`` columns.

        ``shown_log_lines`` then says how many of the log are among them.
        """
        footer = self._folded(_text(view.footer), width)[:_MOST_FOOTER_LINES][:height]
        # As if the terminal were lower by the further lines of the footer.
        height -= len(footer) - 1
        if view.help:
            body = [self._head(view, width), *self._help(view, width)]
        elif view.full_logs:
            body = [self._rule(view, width), *self._whole_log(view, width, height - 2)]
        else:
            body = [self._head(view, width), *self._overview(view, width, height)]
        body = body[: height - 1]
        return [*body, *[""] * (height - 1 - len(body)), *footer]

    def _overview(self, view: TopView, width: int, height: int) -> list[str]:
        room = table_room(view, height)
        table = self._render(build(view.columns, view.rows), width)
        header, rows = table[:1], table[1:]
        first = first_row(view.selected, len(rows), room)
        shown = [
            self._reversed(line, width) if first + number == view.selected else line
            for number, line in enumerate(rows[first : first + room])
        ]
        below = len(rows) - first - len(shown)
        detail = view.detail
        if below > 0 or first > 0:
            detail = Cell(f"({first} above, {below} below) {detail.text}", detail.style)
        return [
            *header,
            *shown,
            self._line(detail, width),
            self._rule(view, width),
            *self._newest(view, width, height - _FIXED_LINES - room),
        ]

    def _head(self, view: TopView, width: int) -> str:
        left, right = _text(view.title), _text(view.status)
        gap = width - left.cell_len - right.cell_len
        return self._line_of(Text.assemble(left, " " * max(gap, 2), right), width)

    def _rule(self, view: TopView, width: int) -> str:
        title = Text(f"{self._dash * 2} {plain(view.log_title)} ", style="bold")
        return self._line_of(title.append(self._dash * max(0, width - title.cell_len)), width)

    def _newest(self, view: TopView, width: int, room: int) -> list[str]:
        """Return the last lines of the log, cut off at the right."""
        shown = view.logs[-room:] if room > 0 else ()
        self.shown_log_lines = len(shown)
        longest = max((len(line.label) for line in shown), default=0)
        return [self._line_of(_log_text(line, longest), width) for line in shown]

    def _whole_log(self, view: TopView, width: int, room: int) -> list[str]:
        """Return the last lines of the log whole, folded where they are longer than the screen."""
        longest = max((len(line.label) for line in view.logs[-max(room, 0) :]), default=0)
        lines: list[str] = []
        self.shown_log_lines = 0
        for line in reversed(view.logs):
            if len(lines) >= room:
                break
            lines = [*self._folded(_log_text(line, longest), width), *lines]
            self.shown_log_lines += 1
        return lines[-room:] if room > 0 else []

    def _help(self, view: TopView, width: int) -> list[str]:
        longest = max(len(keys) for keys, _ in view.help)
        return [
            self._line_of(Text.assemble((f"  {keys:<{longest}}  ", "bold"), what), width)
            for keys, what in view.help
        ]

    def _line(self, cell: Cell, width: int) -> str:
        return self._line_of(_text(cell), width)

    def _line_of(self, text: Text, width: int) -> str:
        text.no_wrap, text.overflow = True, "crop"
        text.truncate(width, overflow="ellipsis")
        return self._render(text, width)[0]

    def _folded(self, text: Text, width: int) -> list[str]:
        return self._render(text, width, fold=True)

    def _reversed(self, line: str, width: int) -> str:
        text = Text.from_ansi(line)
        text.stylize(SELECTED)
        text.append(" " * max(0, width - text.cell_len), SELECTED)
        return self._line_of(text, width)

    def _render(self, what: "RenderableType", width: int, *, fold: bool = False) -> list[str]:
        out = io.StringIO()
        screen = Screen(
            file=out,
            width=width,
            force_terminal=True,
            color_system="standard",
            no_color=not self._color,
            highlight=False,
            legacy_windows=False,
            _environ={},
        )
        screen.print(what, no_wrap=not fold, overflow="fold" if fold else None, crop=True)
        return out.getvalue().removesuffix("\n").split("\n")


def table_room(view: TopView, height: int) -> int:
    """Return how many rows of services are shown; the logs keep a few lines where that can be."""
    return max(1, min(len(view.rows), height - _FIXED_LINES - _LEAST_LOG_LINES))


def first_row(selected: int | None, count: int, room: int) -> int:
    """Return the first row to show, so that the selected one is among them."""
    if selected is None or count <= room:
        return 0
    return min(max(0, selected - room // 2), count - room)


def plain(text: str) -> str:
    """Return text without anything that could steer a terminal or change its direction."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else " " for character in text.expandtabs(4)
    )


def _log_text(line: LogLine, label_width: int) -> Text:
    label = f"{plain(line.label):<{label_width}} "
    painted = Text.from_ansi(paint(label, line.color)) if line.color else Text(label)
    return Text.assemble(painted, Text(plain(line.text), line.style))


def _text(cell: Cell) -> Text:
    return Text(plain(cell.text), cell.style)
