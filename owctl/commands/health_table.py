"""How `owctl health` shows a report: the table, and the table that `--watch` keeps drawing."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from owctl.health.result import HealthReport
    from owctl.health.watch import History
    from owctl.ui.console import Console
    from owctl.ui.table import Cell, Column

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
    from owctl.health.lines import lines_of
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


def latency_text(latency_ms: float | None) -> str:
    """Return a latency for a table."""
    return "-" if latency_ms is None else f"{latency_ms:.0f} ms"


def live_rows(
    report: "HealthReport", history: "History", *, width: int, ascii_only: bool
) -> "tuple[list[Column], list[list[Cell]]]":
    """Return columns and rows with each line's latencies so far, for ``width`` columns."""
    from owctl.health.lines import lines_of
    from owctl.ui.sparkline import sparkline
    from owctl.ui.table import Cell, Column

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
