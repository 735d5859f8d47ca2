"""The picture of a report: a bar for each table, migrated, merged into others, rejected."""

from collections.abc import Sequence
from html import escape
from typing import Any

_BAR_PIXELS, _ROW_PIXELS, _LABEL_PIXELS, _COUNT_PIXELS = 420, 24, 150, 260
_NARROWEST_PIXELS = 2.0


def picture(tables: Sequence[dict[str, Any]]) -> str:
    """Return the bars of all tables that have rows, as one SVG element."""
    shown = [table for table in tables if table["source_rows"]]
    width = _LABEL_PIXELS + _BAR_PIXELS + _COUNT_PIXELS
    height = _ROW_PIXELS * max(1, len(shown))
    most = max((table["source_rows"] for table in shown), default=1)
    bars = [_bar(number * _ROW_PIXELS, table, most) for number, table in enumerate(shown)]
    label = "Rows of each table: migrated, merged into others, rejected"
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {width} {height}" width="{width}">'
        f"<title>{label}</title>{''.join(bars)}</svg>"
    )


def _bar(top: int, table: dict[str, Any], most: int) -> str:
    counts = (
        ("migrated", table["inserted"]),
        ("merged", table["merged"]),
        ("rejected", table["rejected"] - table["merged"]),
    )
    x, parts = float(_LABEL_PIXELS), []
    for kind, count in counts:
        if not count:
            continue
        # A few rows among many still have to be seen.
        wide = max(_NARROWEST_PIXELS, _BAR_PIXELS * count / most)
        parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{top + 4}" width="{wide:.1f}" '
            f'height="{_ROW_PIXELS - 8}"><title>{kind}: {count}</title></rect>'
        )
        x += wide
    text = ", ".join(f"{count:,} {kind}" for kind, count in counts if count)
    return (
        f'<text x="{_LABEL_PIXELS - 8}" y="{top + 16}" text-anchor="end">'
        f"{escape(table['source'])}</text>"
        f'{"".join(parts)}<text x="{x + 6:.1f}" y="{top + 16}">{text}</text>'
    )
