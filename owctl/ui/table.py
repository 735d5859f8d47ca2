"""Tables, and small pictures of a value over time."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.table import Table


# -- A row of small bars: how a figure went.


BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.:-=+*#"
MISSING, ASCII_MISSING = "×", "x"


def sparkline(values: Sequence[float | None], width: int, *, ascii_only: bool = False) -> str:
    """Return the last ``width`` values as bars from 0 to their highest; None is a cross.

    ``ascii_only`` is for a terminal that cannot say more.
    """
    bars, missing = (ASCII_BARS, ASCII_MISSING) if ascii_only else (BARS, MISSING)
    shown = values[-width:] if width > 0 else ()
    highest = max((value for value in shown if value is not None), default=0.0)
    top = len(bars) - 1
    return "".join(
        missing if value is None else bars[round(value / highest * top) if highest > 0 else 0]
        for value in shown
    )


# -- Tables: fitted to the width of a terminal, whole and plain in a pipe.


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column; ``narrow`` says how it gives way on a narrow terminal, None not at all."""

    title: str
    right: bool = False
    narrow: Literal["fold", "crop"] | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """A table cell with a rich style, such as ``green``."""

    text: str
    style: str = ""


def render(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], *, width: int | None, color: bool
) -> str:
    """Return a table as text; ``width`` None means as wide as it needs (no rich, no cutting)."""
    if width is None:
        return _plain(columns, rows)
    return _fitted(columns, rows, width, color)


def _plain(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> str:
    table = [[column.title for column in columns], *([cell.text for cell in row] for row in rows)]
    widths = [max(len(line[index]) for line in table) for index in range(len(columns))]
    return "\n".join(
        "  ".join(
            text.rjust(wide) if column.right else text.ljust(wide)
            for text, wide, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in table
    )


def build(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> "Table":
    """Return a table of rich's, which fits itself to the screen that it is printed on."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=column.narrow is None,
            overflow="ellipsis" if column.narrow == "crop" else "fold",
        )
    for row in rows:
        table.add_row(
            *(
                Text(cell.text, style=cell.style, no_wrap=column.narrow == "crop")
                for column, cell in zip(columns, row, strict=True)
            )
        )
    return table


def _fitted(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int, color: bool
) -> str:
    from rich.console import Console

    out = io.StringIO()
    screen = Console(
        file=out,
        width=width,
        force_terminal=color,
        color_system="auto" if color else None,
        no_color=not color,
        highlight=False,
        legacy_windows=False,
    )
    screen.print(build(columns, rows))
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip("\n").split("\n"))
