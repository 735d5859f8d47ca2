"""`owctl health`: asks every service, in its own protocol, whether it works."""

from typing import TYPE_CHECKING

import click

from owctl.commands.options import format_option, pass_context, services_argument
from owctl.context import Context

if TYPE_CHECKING:
    from owctl.health.result import HealthReport
    from owctl.ui.console import Console
    from owctl.ui.table import Cell, Column

NOT_HEALTHY = 3
_STYLES = {"healthy": "green", "starting": "yellow"}


@click.command()
@services_argument
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=5,
    show_default=True,
    metavar="SECONDS",
    help="How long each service may take to answer; all are asked at once.",
)
@format_option("table", "json")
@pass_context
def health(
    context: Context, services: tuple[str, ...], timeout_seconds: float, output_format: str
) -> int:
    """Ask every service, in its own protocol, whether it works.

    Exits with 0 if all that were asked are healthy, else with 3.
    """
    from owctl.compose.services import resolve_services
    from owctl.health.check import check_stack

    chosen = resolve_services(context.stack, services)
    report = check_stack(context.engine, context.stack, chosen, timeout_seconds=timeout_seconds)
    if output_format == "json":
        context.console.json(report.to_json())
    else:
        _print_table(context.console, report)
    return 0 if report.status == "healthy" else NOT_HEALTHY


def _print_table(console: "Console", report: "HealthReport") -> None:
    console.table(*table_of(report))
    healthy = sum(row.status == "healthy" for row in report.services)
    console.info(
        f"{report.project} is {report.status}: {healthy} of {len(report.services)} healthy, "
        f"asked in {report.duration_ms / 1000:.2f} s"
    )


def table_of(report: "HealthReport") -> "tuple[list[Column], list[list[str | Cell]]]":
    """Return columns and rows; several containers of a service are told apart by their names."""
    from owctl.ui.table import Cell, Column

    columns = [
        Column("SERVICE"),
        Column("STATUS"),
        Column("PROBE"),
        Column("LATENCY", right=True),
        Column("DETAIL", narrow="fold"),
    ]
    names = [row.service for row in report.services]
    rows: list[list[str | Cell]] = []
    for row in report.services:
        name = row.service
        if names.count(name) > 1 and row.container is not None:
            name = row.container.removeprefix(f"{report.project}-")
        latency = "-" if row.latency_ms is None else f"{row.latency_ms:.0f} ms"
        status = Cell(row.status, _STYLES.get(row.status, "red"))
        rows.append([name, status, row.probe or "-", latency, row.detail])
    return columns, rows
