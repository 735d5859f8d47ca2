"""``owctl stats``: what each container consumes, once or watched."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from owctl.commands.options import examples, format_option, pass_context, services_argument
from owctl.commands.status import STYLES
from owctl.context import Context
from owctl.errors import Interrupted, OwctlError
from owctl.figures import UNKNOWN, clock_text, memory_text, moment_text, percent_text, transfer_text
from owctl.observe.sampling import rounds
from owctl.observe.stats import Usage
from owctl.ui.console import json_document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from owctl.observe.sampling import ContainerUsage, Round, StatsSampler
    from owctl.ui.table import Cell, Column
    from owctl.ui.watch import LiveTable


# -- A round as a table and as JSON


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
    return json_document(
        project,
        taken_at=moment_text(found.taken_at),
        services=[_json(row) for row in found.rows],
    )


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


# -- Round after round


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
        now = clock_text()
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
        return json_document(project, taken_at=moment_text(), services=[], error=found.message)
    return document(project, found)


# -- owctl stats


WATCH_INTERVAL_SECONDS = 2.0
ONCE_INTERVAL_SECONDS = 1.0
# Older engines answer once a second only, all questions that have come by then: one that comes just
# after that costs another second.
SLOW_ANSWER_SECONDS = 0.25
EARLY_SECONDS = 0.4


_EXAMPLES = examples(
    "owctl stats",
    "owctl stats --no-stream backend",
    "owctl stats --json | jq '.services[].memory_percent'",
)


@click.command(epilog=_EXAMPLES)
@services_argument
@click.option(
    "--stream/--no-stream",
    default=None,
    help="Go on until Ctrl-C, or look once.  [default: go on if stdout is a terminal and the format "
    "a table]",
)
@click.option(
    "--interval",
    "interval_seconds",
    type=click.FloatRange(min=0.5),
    metavar="SECONDS",
    help="From one reading to the next; rates and CPU are over that time.  "
    f"[default: {WATCH_INTERVAL_SECONDS:g}, once: {ONCE_INTERVAL_SECONDS:g}]",
)
@format_option("table", "json")
@pass_context
def stats(
    context: Context,
    services: tuple[str, ...],
    stream: bool | None,
    interval_seconds: float | None,
    output_format: str,
) -> int:
    """Show CPU, memory, network and disk of each container.

    CPU is in percent of one core, memory without the file cache that the kernel would drop.
    A narrow terminal gets fewer columns; a pipe and --json get all.
    """

    from owctl.compose.services import resolve_services
    from owctl.observe.sampling import StatsSampler

    stack = context.stack
    names = [each.name for each in resolve_services(stack, services) if each.scale > 0 or services]
    as_json = output_format == "json"
    watched = sys.stdout.isatty() and not as_json if stream is None else stream
    with StatsSampler(context.engine, stack.project, names, others=not services) as sampler:
        if not watched:
            found = _once(sampler, interval_seconds or ONCE_INTERVAL_SECONDS)
            _print(context, found, as_json=as_json)
            return 0
        with suppress(KeyboardInterrupt):
            watch(context, sampler, interval_seconds or WATCH_INTERVAL_SECONDS, as_json=as_json)
    return Interrupted.exit_code


def _once(sampler: "StatsSampler", interval_seconds: float) -> "Round":
    began = time.monotonic()
    first = sampler.sample()
    if not any(row.usage for row in first.rows):
        return first
    is_slow = time.monotonic() - began > SLOW_ANSWER_SECONDS
    time.sleep(interval_seconds - (EARLY_SECONDS if is_slow else 0.0))
    return sampler.sample()


def _print(context: Context, found: "Round", *, as_json: bool) -> None:
    import shutil

    if as_json:
        context.console.json(document(context.stack.project, found))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    context.console.table(*stats_table(found.rows, width=width, watched=False))
    _tell_problems(context, found)


def _tell_problems(context: Context, found: "Round") -> None:
    for row in found.rows:
        if row.problem is not None:
            context.console.warn(f"{row.service}: {row.problem}")
