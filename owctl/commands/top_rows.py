"""The rows of `owctl top`: what is known of each container, from all who were asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from owctl.commands.health_table import STYLES as HEALTH_STYLES
from owctl.commands.health_table import latency_text
from owctl.commands.stats_table import (
    GAP_COLUMNS,
    column_width,
    figure_style,
    figure_text,
    fitting,
    name_of,
    state_of,
)
from owctl.commands.status import STYLES as STATE_STYLES
from owctl.commands.status import ports_text, uptime_text
from owctl.observe.sampling import ContainerUsage

if TYPE_CHECKING:
    from owctl.health.result import HealthReport, ServiceHealth
    from owctl.observe.sampling import Round
    from owctl.ui.table import Cell, Column

# Longer lists of ports are cut off; the detail of the selected row has them whole.
MOST_PORT_COLUMNS = 12
ASKING = "…"


@dataclass(frozen=True, slots=True)
class Row:
    """A container, or a service without one; ``key`` is that of whatever takes its place, too."""

    key: str
    name: str
    usage: ContainerUsage
    health: "ServiceHealth | None"

    @property
    def service(self) -> str:
        """The service's name."""
        return self.usage.service

    @property
    def number(self) -> int | None:
        """The container's number, None without one."""
        return self.usage.container.number if self.usage.container else None

    @property
    def is_running(self) -> bool:
        """Whether a process of it runs that one could go into."""
        return self.usage.container is not None and self.usage.container.is_running


def rows_of(
    usage: "Round | None", health: "HealthReport | None", services: Sequence[str]
) -> list[Row]:
    """Return the rows in the order of the services; before the first answer those are all."""
    if usage is None:
        return [_row(ContainerUsage(name, None, None), health) for name in services]
    return [_row(each, health) for each in usage.rows]


def matching(rows: Sequence[Row], text: str) -> list[Row]:
    """Return the rows whose names contain the text; all where it is in none: it is of the logs."""
    found = [row for row in rows if text.lower() in row.name.lower()]
    return found or list(rows)


def _row(usage: ContainerUsage, health: "HealthReport | None") -> Row:
    container = usage.container.name if usage.container else None
    answers = [
        each
        for each in (health.services if health else ())
        if each.service == usage.service and each.container == container
    ]
    name = name_of(usage)
    return Row(name, name, usage, answers[0] if answers else None)


def table(
    rows: Sequence[Row], width: int, *, asked: bool
) -> "tuple[list[Column], list[list[Cell]]]":
    """Return the columns that fit and the rows; ``asked`` is False where there is no answer yet."""
    from owctl.ui.table import Cell, Column

    columns = [Column("SERVICE", narrow="crop"), Column("HEALTH")]
    lines = [[Cell(row.name), _health(row, asked)] for row in rows]
    ports = [_short_ports(row) for row in rows]
    taken = sum(column_width(each.title, index, lines) for index, each in enumerate(columns))
    taken += max([len("PORTS"), *map(len, ports)]) + GAP_COLUMNS
    usages = [row.usage for row in rows]
    for figure in fitting(usages, width - taken, watched=True):
        columns.append(Column(figure.title, right=True))
        for line, usage in zip(lines, usages, strict=True):
            line.append(Cell(figure_text(figure, usage), figure_style(figure, usage)))
    columns.append(Column("PORTS", narrow="crop"))
    for line, text in zip(lines, ports, strict=True):
        line.append(Cell(text))
    return columns, lines


def detail(row: Row, now: datetime) -> "Cell":
    """Return what there is to say of the selected row at ``now`` of the engine, what counts first."""
    from owctl.ui.table import Cell

    container = row.usage.container
    parts = []
    if row.usage.problem:
        parts.append(row.usage.problem)
    if row.health is not None:
        latency = row.health.latency_ms
        parts.append(row.health.detail + (f" in {latency_text(latency)}" if latency else ""))
    if container is not None:
        up = uptime_text(container, now)
        parts += [f"up {up}" if up else state_of(row.usage), ports_text(container), container.image]
    return Cell(f"{row.name}: {' · '.join(part for part in parts if part)}", "dim")


def _health(row: Row, asked: bool) -> "Cell":
    """Return the verdict; of a container that has ended since, what became of it."""
    from owctl.ui.table import Cell

    if not asked:
        return Cell(ASKING, "dim")
    state = state_of(row.usage)
    if row.usage.container is None or not row.is_running:
        return Cell(state, STATE_STYLES.get(state, "red"))
    if row.health is None or row.health.state != "running":
        return Cell(ASKING, "dim")
    return Cell(row.health.status, HEALTH_STYLES.get(row.health.status, "red"))


def _short_ports(row: Row) -> str:
    container = row.usage.container
    if container is None:
        return ""
    text = ",".join(dict.fromkeys(str(port.host_port) for port in container.ports))
    return text if len(text) <= MOST_PORT_COLUMNS else text[: MOST_PORT_COLUMNS - 1] + "…"
