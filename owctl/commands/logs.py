"""``owctl logs``: what the services wrote, merged by time."""

import re
import select
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import click

from owctl.commands.options import examples, format_option, pass_context, services_argument
from owctl.context import Context
from owctl.errors import OwctlError

if TYPE_CHECKING:
    from collections.abc import Collection

    from owctl.errors import EngineError
    from owctl.observe.log_filter import Level, LineFilter, Source, Window
    from owctl.ui.log_text import JsonFormat, Safety, TextFormat

WRITE_BYTES = 1 << 18


def _tail(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    """Return a number of lines, None for all."""
    if value == "all":
        return None
    if not value.isdecimal() or len(value) > 9:
        raise click.BadParameter(f"{value!r} is neither a number of lines nor 'all'.", ctx, param)
    return int(value)


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return a duration back from now, or a time, once it is known to be one."""
    from owctl.observe.log_filter import parse_moment

    try:
        if value is not None:
            parse_moment(value, time.time())
    except ValueError as error:
        raise click.BadParameter(f"{error}.", ctx, param) from error
    return value


def _pattern(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> re.Pattern[str] | None:
    try:
        return None if value is None else re.compile(value)
    except re.error as error:
        raise click.BadParameter(f"no regular expression: {error}.", ctx, param) from error


def _levels(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> "frozenset[Level] | None":
    from owctl.observe.log_filter import parse_levels

    try:
        return None if value is None else parse_levels(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", ctx, param) from error


def _complete_level(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from owctl.observe.log_filter import LEVELS

    words = [word for level in LEVELS for word in (level, f"{level}+")]
    return [word for word in words if word.startswith(incomplete)]


_EXAMPLES = examples(
    "owctl logs -f backend bridge",
    "owctl logs --since 10m --level warn+",
    "owctl logs --tail 20 --grep 'timeout|refused' backend",
    "owctl logs --json --level error+ | jq -r .message",
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
    help="The last N lines of each container; with --grep or --level, the last N that they choose.  "
    "[default: all]",
)
@click.option(
    "--since", callback=_moment, metavar="TIME", help="From then on: 10m, 2h30m, 2026-01-31T12:00."
)
@click.option("--until", callback=_moment, metavar="TIME", help="Up to then; as --since.")
@click.option("-t", "--timestamps", is_flag=True, help="Show the time of each line (UTC).")
@click.option("--grep", callback=_pattern, metavar="REGEX", help="Only lines in which it is found.")
@click.option("-v", "--invert", is_flag=True, help="Only lines in which --grep finds nothing.")
@click.option(
    "--level",
    "levels",
    callback=_levels,
    shell_complete=_complete_level,
    metavar="LEVEL[+]",
    help="Only lines of that level; with + also of those above: trace, debug, info, warn, error, fatal.",
)
@click.option(
    "--raw", is_flag=True, help="As written: with the stack's secrets and control sequences."
)
@click.option("--no-prefix", is_flag=True, help="The lines alone, without the service's name.")
@format_option("text", "json")
@pass_context
def logs(
    context: Context,
    services: tuple[str, ...],
    follow: bool,
    tail: int | None,
    since: str | None,
    until: str | None,
    timestamps: bool,
    grep: re.Pattern[str] | None,
    invert: bool,
    levels: "frozenset[Level] | None",
    raw: bool,
    no_prefix: bool,
    output_format: str,
) -> None:
    """Show the services' logs, merged by time, secrets masked.

    With -f it goes on across restarts and new containers, and ends when none runs any more. Control
    sequences of the services are taken out, but for their colours on a terminal; --grep looks at
    what is then left. A stack trace has the level of the line before it. --format json prints one
    document a line.
    """
    from owctl.compose.services import resolve_services
    from owctl.observe.log_filter import LineFilter, Window
    from owctl.ui.log_text import Safety

    if follow and until is not None:
        raise click.UsageError("--until sets an end, -f has none: give one of the two.")
    if invert and grep is None:
        raise click.UsageError("--invert turns --grep around: give a pattern, too.")
    stack = context.stack
    names = {service.name for service in resolve_services(stack, services)} if services else None
    safety = Safety(None if raw else context.mask_for(stack).mask_bytes, raw=raw)
    as_json = output_format == "json"
    form = _form(context, safety, as_json=as_json, prefixed=not no_prefix, timestamps=timestamps)
    chooser = LineFilter(
        safety.plain, pattern=grep, invert=invert, levels=levels, tell_levels=as_json
    )
    window = Window(tail=tail, since=_seconds(context, since), until=_seconds(context, until))
    reading = _Reading(context, names, window, chooser, form)
    try:
        reading.run(follow=follow)
    except KeyboardInterrupt:
        # Ctrl-C is how following ends; there is nothing to report.
        raise click.exceptions.Exit(130) from None


def _seconds(context: Context, moment: str | None) -> float | None:
    """Return seconds since 1970; a duration ends now by the clock that the lines' times are of."""
    from owctl.observe.log_filter import parse_moment

    return None if moment is None else parse_moment(moment, context.engine.now().timestamp())


def _form(
    context: Context, safety: "Safety", *, as_json: bool, prefixed: bool, timestamps: bool
) -> "TextFormat | JsonFormat":
    from owctl.ui.log_text import JsonFormat, TextFormat, service_colors

    if as_json:
        return JsonFormat(context.stack.project, safety)
    colored = context.console.colored(sys.stdout)
    return TextFormat(
        prefixed=prefixed,
        timestamps=timestamps,
        colors=service_colors(context.stack.services) if colored else {},
        safety=safety,
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """One reading of logs: of which services, which part, what of it, in which form."""

    context: Context
    names: "Collection[str] | None"
    window: "Window"
    chooser: "LineFilter"
    form: "TextFormat | JsonFormat"

    def run(self, *, follow: bool) -> None:
        from owctl.ui.log_text import TextFormat

        sources = _sources(self.context, self.names)
        if isinstance(self.form, TextFormat):
            self.form.width = max(len(source.label) for source in sources)
        if follow:
            self._follow()
        else:
            self._print(sources)

    def _print(self, sources: "list[Source]") -> None:
        from owctl.observe.log_read import read_logs

        out = sys.stdout.buffer
        waiting: list[bytes] = []
        size_bytes = 0
        for lines in read_logs(
            self.context.engine,
            sources,
            self.window,
            self._tell_problem,
            chooser=self.chooser,
            guard=self.form.safety.plain,
        ):
            waiting.append(self.form.render(*self.chooser.choose(lines)))
            size_bytes += len(waiting[-1])
            if size_bytes >= WRITE_BYTES:
                out.write(b"".join(waiting))
                waiting, size_bytes = [], 0
        out.write(b"".join(waiting))
        out.flush()

    def _follow(self) -> None:
        from owctl.observe.log_follow import LogFollower

        out, console = sys.stdout.buffer, self.context.console
        follower = LogFollower(
            self.context.engine,
            self.context.stack.project,
            self.names,
            self.window,
            on_end=lambda source, how: console.info(f"{source.label} {how}"),
            on_problem=self._tell_problem,
            on_loss=console.warn,
            chooser=self.chooser,
            guard=self.form.safety.plain,
        )
        with closing(follower.lines()) as batches:
            for lines in batches:
                chosen, levels = self.chooser.choose(lines)
                if chosen:
                    out.write(self.form.render(chosen, levels))
                    out.flush()
                elif _reader_is_gone(out):
                    return

    def _tell_problem(self, source: "Source", error: "EngineError") -> None:
        self.context.console.warn(error.message)


def _sources(context: Context, names: "Collection[str] | None") -> "list[Source]":
    from owctl.observe.log_filter import log_sources

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


def _reader_is_gone(out: BinaryIO) -> bool:
    """Whether nobody reads the pipe that ``out`` writes to, which a write alone would tell."""
    try:
        descriptor = out.fileno()
    except OSError:
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
