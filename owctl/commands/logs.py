"""``owctl logs``: what the services wrote, merged by time."""

import os
import re
import select
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, BinaryIO

import click

from owctl.commands.options import examples, format_option, pass_context, services_argument
from owctl.context import Context
from owctl.errors import OwctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from owctl.errors import EngineError
    from owctl.observe.logs import Source, Window
    from owctl.ui.log_text import JsonFormat, TextFormat

WRITE_BYTES = 1 << 18


def _tail(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    """Return a number of lines, None for all."""
    if value == "all":
        return None
    if not value.isdecimal():
        raise click.BadParameter(f"{value!r} is neither a number of lines nor 'all'.", ctx, param)
    return int(value)


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return seconds since 1970 for a duration back from now, or a time."""
    from owctl.observe.log_times import parse_moment

    try:
        return None if value is None else parse_moment(value, time.time())
    except ValueError as error:
        raise click.BadParameter(f"{error}.", ctx, param) from error


def _pattern(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> "re.Pattern[bytes] | None":
    try:
        return None if value is None else re.compile(value.encode())
    except re.error as error:
        raise click.BadParameter(f"no regular expression: {error}.", ctx, param) from error


_EXAMPLES = examples(
    "owctl logs -f backend",
    "owctl logs --since 10m --grep 'error|warn'",
    "owctl logs --tail 100 --json",
)


@click.command(epilog=_EXAMPLES)
@services_argument
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come, across restarts.")
@click.option(
    "-n",
    "--tail",
    callback=_tail,
    default="all",
    metavar="N",
    help="The last N lines of each container.  [default: all]",
)
@click.option(
    "--since", callback=_moment, metavar="TIME", help="From then on: 10m, 2h30m, 2026-01-31T12:00."
)
@click.option("--until", callback=_moment, metavar="TIME", help="Up to then; as --since.")
@click.option("-t", "--timestamps", is_flag=True, help="Show the time of each line (UTC).")
@click.option("--grep", callback=_pattern, metavar="REGEX", help="Only lines in which it is found.")
@click.option("--raw", is_flag=True, help="Show secrets of the stack; they are masked otherwise.")
@click.option("--no-prefix", is_flag=True, help="The lines alone, without the service's name.")
@format_option("text", "json")
@pass_context
def logs(
    context: Context,
    services: tuple[str, ...],
    follow: bool,
    tail: int | None,
    since: float | None,
    until: float | None,
    timestamps: bool,
    grep: "re.Pattern[bytes] | None",
    raw: bool,
    no_prefix: bool,
    output_format: str,
) -> None:
    """Show the services' logs, merged by time, secrets masked.

    With -f it goes on across restarts and new containers, and ends when none runs any more. On a
    terminal only colours of the services' own control sequences are kept; a pipe gets the lines
    as they were written. --format json prints one document a line.
    """
    from owctl.compose.services import resolve_services
    from owctl.observe.logs import Window
    from owctl.ui.log_text import JsonFormat, TextFormat, service_colors

    if follow and until is not None:
        raise click.UsageError("--until sets an end, -f has none: give one of the two.")
    stack = context.stack
    names = {service.name for service in resolve_services(stack, services)} if services else None
    mask = None if raw else context.mask_for(stack).mask_bytes
    form: TextFormat | JsonFormat
    if output_format == "json":
        form = JsonFormat(stack.project, mask=mask, pattern=grep)
    else:
        colored = context.console.colored(sys.stdout)
        form = TextFormat(
            prefixed=not no_prefix,
            timestamps=timestamps,
            colors=service_colors(stack.services) if colored else {},
            terminal=sys.stdout.isatty(),
            mask=mask,
            pattern=grep,
        )
    window = Window(tail=tail, since=since, until=until)
    sources = _sources(context, names)
    if isinstance(form, TextFormat):
        form.width = max(len(source.label) for source in sources)
    try:
        if follow:
            _follow(context, names, window, form)
        else:
            _print(context, sources, window, form)
    except KeyboardInterrupt:
        # Ctrl-C is how following ends; there is nothing to report.
        raise click.exceptions.Exit(130) from None
    except BrokenPipeError:
        # `owctl logs | head` has seen enough. Caught here because click would make it a failure;
        # what is still buffered goes nowhere, without a complaint at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _sources(context: Context, names: "Collection[str] | None") -> "list[Source]":
    from owctl.observe.logs import log_sources

    sources = log_sources(context.engine, context.stack.project, names)
    for name in sorted(set(names or ()) - {source.service for source in sources}):
        context.console.warn(f"{name} has no container, so it has no log")
    if not sources:
        raise OwctlError(
            f"There are no logs: project {context.stack.project} has no containers"
            + (f" of {', '.join(sorted(names))}" if names else ""),
            hint="owctl start",
        )
    return sources


def _print(
    context: Context, sources: "list[Source]", window: "Window", form: "TextFormat | JsonFormat"
) -> None:
    from owctl.observe.logs import read_logs

    out = sys.stdout.buffer
    waiting: list[bytes] = []
    size_bytes = 0
    for lines in read_logs(context.engine, sources, window, _problem_teller(context)):
        waiting.append(form.render(lines))
        size_bytes += len(waiting[-1])
        if size_bytes >= WRITE_BYTES:
            out.write(b"".join(waiting))
            waiting, size_bytes = [], 0
    out.write(b"".join(waiting))
    out.flush()


def _follow(
    context: Context,
    names: "Collection[str] | None",
    window: "Window",
    form: "TextFormat | JsonFormat",
) -> None:
    from owctl.observe.log_follow import LogFollower

    out = sys.stdout.buffer
    follower = LogFollower(
        context.engine,
        context.stack.project,
        names,
        window,
        on_end=lambda source, how: context.console.info(f"{source.label} {how}"),
        on_problem=_problem_teller(context),
    )
    with closing(follower.lines()) as batches:
        for lines in batches:
            if lines:
                out.write(form.render(lines))
                out.flush()
            elif _reader_is_gone(out):
                return


def _problem_teller(context: Context) -> "Callable[[Source, EngineError], None]":
    def tell(source: "Source", error: "EngineError") -> None:
        context.console.warn(error.message)

    return tell


def _reader_is_gone(out: BinaryIO) -> bool:
    """Whether nobody reads the pipe that ``out`` writes to, which a write alone would tell."""
    try:
        descriptor = out.fileno()
    except OSError:
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
