"""``owctl stats``: what the containers consume, once or all the time."""

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from owctl.commands.options import examples, format_option, pass_context, services_argument
from owctl.context import Context
from owctl.errors import Interrupted

if TYPE_CHECKING:
    from owctl.observe.sampling import Round, StatsSampler

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
    from owctl.commands.stats_watch import watch
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

    from owctl.commands.stats_table import document, stats_table

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
