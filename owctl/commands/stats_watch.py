"""`owctl stats` that goes on: a live table on a terminal; tables or JSON lines elsewhere."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from owctl.commands.stats_table import document, stats_table
from owctl.errors import OwctlError
from owctl.observe.rounds import rounds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from owctl.context import Context
    from owctl.observe.sampling import Round, StatsSampler
    from owctl.ui.table import Column
    from owctl.ui.watch import LiveTable

FIRST_INTERVAL_SECONDS = 1.0


def watch(
    context: "Context", sampler: "StatsSampler", interval_seconds: float, *, as_json: bool
) -> None:
    """Show round after round, for ever. An engine that goes away is shown, and waited for.

    What is wrong with it at the start is raised.
    """
    found = rounds(
        sampler.sample,
        interval_seconds,
        first_seconds=min(FIRST_INTERVAL_SECONDS, interval_seconds),
    )
    live = None if as_json else context.console.live_table()
    if live is not None:
        with live:
            _draw(live, context.stack.project, found, interval_seconds)
    elif as_json:
        for each in found:
            context.console.json_line(_document(context.stack.project, each))
    else:
        _tables(context, found)


def _draw(
    live: "LiveTable",
    project: str,
    found: "Iterator[Round | OwctlError]",
    interval_seconds: float,
) -> None:
    from owctl.ui.table import Cell

    columns: list[Column] = []
    lines: list[list[Cell]] = []
    for each in found:
        now = datetime.now(UTC).astimezone().strftime("%H:%M:%S")
        footer = []
        if isinstance(each, OwctlError):
            footer.append(Cell(f"{now}  {each.message}", "bold red"))
        else:
            columns, lines = stats_table(each.rows, width=live.width, watched=True)
            footer += [
                Cell(f"{row.service}: {row.problem}", "red") for row in each.rows if row.problem
            ]
            footer.append(Cell(f"{now}  {project}", "bold"))
        footer.append(Cell(f"read every {interval_seconds:g} s; Ctrl-C ends", "dim"))
        live.show(columns, lines, footer)


def _tables(context: "Context", found: "Iterator[Round | OwctlError]") -> None:
    first = True
    for each in found:
        if isinstance(each, OwctlError):
            context.console.warn(each.message)
            continue
        if not first:
            context.console.result()
        first = False
        context.console.table(*stats_table(each.rows, width=None, watched=True))


def _document(project: str, found: "Round | OwctlError") -> dict[str, Any]:
    if isinstance(found, OwctlError):
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        nothing: dict[str, Any] = {"schema": 1, "project": project, "taken_at": now}
        return nothing | {"services": [], "error": found.message}
    return document(project, found)
