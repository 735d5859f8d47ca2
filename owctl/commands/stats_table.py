"""How `owctl stats` shows a round: as many columns as fit the terminal, or all of them as JSON."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple

from owctl.commands.figures import UNKNOWN, memory_text, percent_text, transfer_text
from owctl.commands.status import STYLES
from owctl.observe.stats import Usage

if TYPE_CHECKING:
    from owctl.observe.sampling import ContainerUsage, Round
    from owctl.ui.table import Cell, Column

GAP_COLUMNS = 2
HOT_PERCENT, WARM_PERCENT = 90.0, 75.0


class Figure(NamedTuple):
    """A column. On a narrow terminal the one of the highest rank gives way first.

    ``watched_rank`` is that of a live table, in which rates say more than sums.
    """

    title: str
    text: Callable[[Usage], str]
    rank: int
    watched_rank: int
    percent: str = ""


def _of(name: str, form: Callable[[Any], str]) -> Callable[[Usage], str]:
    return lambda usage: form(getattr(usage, name))


def _cores(cores: float | None) -> str:
    return UNKNOWN if cores is None else f"{cores:g}"


def _pids(usage: Usage) -> str:
    limit = "" if usage.pids_limit is None else f"/{usage.pids_limit}"
    return UNKNOWN if usage.pids is None else f"{usage.pids}{limit}"


FIGURES = (
    Figure("CPU", _of("cpu_percent", percent_text), 0, 0, "cpu_limit_percent"),
    Figure("CORES", _of("cpu_limit_cores", _cores), 11, 11),
    Figure("OF LIMIT", _of("cpu_limit_percent", percent_text), 10, 10, "cpu_limit_percent"),
    Figure("MEMORY", _of("memory_bytes", memory_text), 0, 0, "memory_percent"),
    Figure("LIMIT", _of("memory_limit_bytes", memory_text), 7, 7),
    Figure("MEM %", _of("memory_percent", percent_text), 1, 1, "memory_percent"),
    Figure("RX", _of("network_rx_bytes", transfer_text), 3, 8),
    Figure("TX", _of("network_tx_bytes", transfer_text), 3, 8),
    Figure("RX/S", _of("network_rx_bytes_per_second", transfer_text), 8, 3),
    Figure("TX/S", _of("network_tx_bytes_per_second", transfer_text), 8, 3),
    Figure("READ", _of("disk_read_bytes", transfer_text), 4, 9),
    Figure("WRITE", _of("disk_write_bytes", transfer_text), 4, 9),
    Figure("READ/S", _of("disk_read_bytes_per_second", transfer_text), 9, 4),
    Figure("WRITE/S", _of("disk_write_bytes_per_second", transfer_text), 9, 4),
    Figure("PIDS", _pids, 2, 2),
)


def stats_table(
    rows: "Sequence[ContainerUsage]", *, width: int | None, watched: bool
) -> "tuple[list[Column], list[list[Cell]]]":
    """Return the columns that fit into ``width`` (None: all) and the rows; unknown is a dash.

    On a terminal the state has a column only where something does not run.
    """
    from owctl.ui.table import Cell, Column

    columns = [Column("SERVICE", narrow="crop")]
    lines = [[Cell(name_of(row))] for row in rows]
    if width is None or any(state_of(row) != "running" for row in rows):
        columns.append(Column("STATE"))
        for line, row in zip(lines, rows, strict=True):
            line.append(Cell(state_of(row), _state_style(row)))
    taken = [column_width(column.title, index, lines) for index, column in enumerate(columns)]
    for figure in fitting(rows, None if width is None else width - sum(taken), watched=watched):
        columns.append(Column(figure.title, right=True))
        for line, row in zip(lines, rows, strict=True):
            line.append(Cell(figure_text(figure, row), figure_style(figure, row)))
    return columns, lines


def column_width(title: str, index: int, lines: "Sequence[Sequence[Cell]]") -> int:
    """Return what a column takes, with the gap after it."""
    return max([len(title), *(len(line[index].text) for line in lines)]) + GAP_COLUMNS


def fitting(rows: "Sequence[ContainerUsage]", width: int | None, *, watched: bool) -> list[Figure]:
    """Return the figures that fit into ``width`` columns, in their order; pairs stay together."""
    chosen = list(FIGURES)
    if width is None:
        return chosen
    widths = {
        figure: max([len(figure.title), *(len(figure_text(figure, row)) for row in rows)])
        + GAP_COLUMNS
        for figure in chosen
    }

    def rank(figure: Figure) -> int:
        return figure.watched_rank if watched else figure.rank

    # Nothing follows the last one, so its gap may hang over.
    while sum(widths[figure] for figure in chosen) - GAP_COLUMNS > width:
        highest = max(map(rank, chosen))
        if not highest:
            break
        chosen = [figure for figure in chosen if rank(figure) < highest]
    return chosen


def name_of(row: "ContainerUsage") -> str:
    """Return what a reader calls the container: its service, with its number from the second on."""
    if row.container is None:
        return row.service
    name = row.service or row.container.name
    return name if row.container.number == 1 else f"{name} ({row.container.number})"


def state_of(row: "ContainerUsage") -> str:
    """Return the engine's word for the state, ``missing`` where there is no container."""
    if row.container is None:
        return "missing"
    if row.container.state == "exited":
        return f"exited ({row.container.exit_code})"
    return row.container.state


def document(project: str, found: "Round") -> dict[str, Any]:
    """Return what `owctl stats --json` prints; keys are only ever added."""
    return {
        "schema": 1,
        "project": project,
        "taken_at": found.taken_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "services": [_json(row) for row in found.rows],
    }


def _json(row: "ContainerUsage") -> dict[str, Any]:
    container = row.container
    figures = {field.name: getattr(row.usage, field.name, None) for field in fields(Usage)}
    return {
        "service": row.service,
        "container": container.name if container else None,
        "number": container.number if container else None,
        "state": container.state if container else "missing",
        **{
            name: round(value, 2) if isinstance(value, float) else value
            for name, value in figures.items()
        },
        "problem": row.problem,
    }


def figure_text(figure: Figure, row: "ContainerUsage") -> str:
    """Return a figure of a row, a dash where it is not known."""
    return UNKNOWN if row.usage is None else figure.text(row.usage)


def figure_style(figure: Figure, row: "ContainerUsage") -> str:
    """Return the style of a figure that comes near its limit, "" for any other."""
    percent = getattr(row.usage, figure.percent, None) if figure.percent else None
    if percent is None or percent < WARM_PERCENT:
        return ""
    return "bold red" if percent >= HOT_PERCENT else "yellow"


def _state_style(row: "ContainerUsage") -> str:
    return STYLES.get(state_of(row), "red")
