"""`owctl health --watch`: a live table on a terminal; lines on change, or JSON lines, elsewhere."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from owctl.commands.health_table import latency_text, live_rows
from owctl.errors import Interrupted, OwctlError

if TYPE_CHECKING:
    from owctl.health.result import HealthReport
    from owctl.ui.console import Console
    from owctl.ui.table import Cell
    from owctl.ui.watch import LiveTable


def watch(
    console: "Console",
    project: str,
    ask: "Callable[[], HealthReport]",
    *,
    interval_seconds: float,
    as_json: bool,
) -> int:
    """Show round after round until Ctrl-C, which is no error; return its exit code.

    An engine that goes away is shown, and waited for.
    """
    live = None if as_json else console.live_table()
    try:
        if live is not None:
            with live:
                _draw(live, project, ask, interval_seconds)
        elif as_json:
            _json_lines(console, project, ask, interval_seconds)
        else:
            _lines_on_change(console, ask, interval_seconds)
    except KeyboardInterrupt:
        pass
    return Interrupted.exit_code


def _draw(
    live: "LiveTable",
    project: str,
    ask: "Callable[[], HealthReport]",
    interval_seconds: float,
) -> None:
    from owctl.health.watch import History
    from owctl.observe.rounds import rounds
    from owctl.ui.table import Cell, Column

    history = History()
    columns: list[Column] = []
    rows: list[list[Cell]] = []
    for found in rounds(ask, interval_seconds):
        now = datetime.now(UTC).astimezone().strftime("%H:%M:%S")
        if isinstance(found, OwctlError):
            footer = [Cell(f"{now}  {found.message}", "bold red"), _way_out(interval_seconds)]
        else:
            history.add(found)
            columns, rows = live_rows(found, history, width=live.width, ascii_only=live.ascii_only)
            style = "bold green" if found.status == "healthy" else "bold red"
            footer = [
                Cell(f"{now}  {project} is {found.status}", style),
                _way_out(interval_seconds),
            ]
        live.show(columns, rows, footer)


def _way_out(interval_seconds: float) -> "Cell":
    from owctl.ui.table import Cell

    return Cell(f"asked every {interval_seconds:g} s; Ctrl-C ends", "dim")


def _json_lines(
    console: "Console", project: str, ask: "Callable[[], HealthReport]", interval_seconds: float
) -> None:
    from owctl.observe.rounds import rounds

    for found in rounds(ask, interval_seconds):
        console.json_line(
            _failed_round(project, found) if isinstance(found, OwctlError) else found.to_json()
        )


def _failed_round(project: str, error: OwctlError) -> dict[str, Any]:
    """Return the document of a round in which nothing could be asked."""
    from owctl.health.result import HealthReport

    report = HealthReport(project, datetime.now(UTC), 0.0, ())
    return report.to_json() | {"error": error.message}


def _lines_on_change(
    console: "Console", ask: "Callable[[], HealthReport]", interval_seconds: float
) -> None:
    from owctl.health.watch import History
    from owctl.observe.rounds import rounds

    history = History()
    last_error = ""
    for found in rounds(ask, interval_seconds):
        if isinstance(found, OwctlError):
            if found.message != last_error:
                last_error = found.message
                now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
                console.result(f"{now}  {last_error}")
            continue
        last_error = ""
        for line in history.add(found):
            console.result(
                f"{found.checked_at_text}  {line.name}  {line.status}  "
                f"{latency_text(line.latency_ms)}  {line.detail}"
            )
