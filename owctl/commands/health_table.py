"""Health as a table, once or watched."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from owctl.errors import Interrupted, OwctlError
from owctl.figures import clock_text, latency_text, moment_text

if TYPE_CHECKING:
    from owctl.health.result import HealthReport, History
    from owctl.ui.console import Console
    from owctl.ui.table import Cell, Column
    from owctl.ui.watch import LiveTable


# -- A report as a table


STYLES = {"healthy": "green", "starting": "yellow", "skipped": "dim"}
# On a narrow terminal, what is left beside a long name, status, latency and some of the detail.
_TREND_COLUMNS = (12, 40)


def print_report(console: "Console", report: "HealthReport") -> None:
    """Print the table on stdout, and the verdict on stderr."""
    console.table(*table_of(report))
    console.info(f"{report.project} is {report.status}: {_summary(report)}")


def _summary(report: "HealthReport") -> str:
    healthy = sum(row.status == "healthy" for row in report.services)
    text = f"{healthy} of {len(report.services)} healthy"
    if report.deep is not None:
        asked = [check for check in report.deep if check.status != "skipped"]
        passed = sum(check.status == "healthy" for check in asked)
        text += f", {passed} of {len(asked)} deep checks passed"
    return f"{text}, asked in {report.duration_ms / 1000:.2f} s"


def table_of(report: "HealthReport") -> "tuple[list[Column], list[list[str | Cell]]]":
    """Return columns and rows; several containers of a service are told apart by their names."""
    from owctl.health.result import lines_of
    from owctl.ui.table import Cell, Column

    columns = [
        Column("SERVICE"),
        Column("STATUS"),
        Column("PROBE"),
        Column("LATENCY", right=True),
        Column("DETAIL", narrow="fold"),
    ]
    probes = [row.probe or "-" for row in report.services]
    probes += [check.check for check in report.deep or ()]
    rows: list[list[str | Cell]] = []
    for line, probe in zip(lines_of(report), probes, strict=True):
        status = Cell(line.status, STYLES.get(line.status, "red"))
        name = line.name.removesuffix(f" {probe}")
        rows.append([name, status, probe, latency_text(line.latency_ms), line.detail])
    return columns, rows


def live_rows(
    report: "HealthReport", history: "History", *, width: int, ascii_only: bool
) -> "tuple[list[Column], list[list[Cell]]]":
    """Return columns and rows with each line's latencies so far, for ``width`` columns."""
    from owctl.health.result import lines_of
    from owctl.ui.table import Cell, Column, sparkline

    lines = lines_of(report)
    least, most = _TREND_COLUMNS
    longest_name = max((len(line.name) for line in lines), default=0)
    trend_width = max(least, min(most, width - longest_name - 50))
    columns = [
        Column("SERVICE"),
        Column("STATUS"),
        Column("LATENCY", right=True),
        Column("TREND"),
        Column("DETAIL", narrow="crop"),
    ]
    rows = [
        [
            Cell(line.name),
            Cell(line.status, STYLES.get(line.status, "red")),
            Cell(latency_text(line.latency_ms)),
            Cell(
                sparkline(
                    list(history.latencies_ms[line.name]), trend_width, ascii_only=ascii_only
                ),
                "cyan",
            ),
            Cell(line.detail),
        ]
        for line in lines
    ]
    return columns, rows


# -- owctl health --watch


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
    from owctl.health.result import History
    from owctl.observe.sampling import rounds
    from owctl.ui.table import Cell, Column

    history = History()
    columns: list[Column] = []
    rows: list[list[Cell]] = []
    for found in rounds(ask, interval_seconds):
        now = clock_text()
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
    from owctl.observe.sampling import rounds

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
    from owctl.health.result import History
    from owctl.observe.sampling import rounds

    history = History()
    last_error = ""
    for found in rounds(ask, interval_seconds):
        if isinstance(found, OwctlError):
            if found.message != last_error:
                last_error = found.message
                console.result(f"{moment_text()}  {last_error}")
            continue
        last_error = ""
        for line in history.add(found):
            console.result(
                f"{found.checked_at_text}  {line.name}  {line.status}  "
                f"{latency_text(line.latency_ms)}  {line.detail}"
            )
