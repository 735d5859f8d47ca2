"""A row of small bars: how a figure went."""

from collections.abc import Sequence

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
