"""`owctl health`: asks every service, in its own protocol, whether it works."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from owctl.commands.options import examples, format_option, pass_context, services_argument
from owctl.context import Context
from owctl.errors import OwctlError, UsageError

if TYPE_CHECKING:
    from owctl.health.result import HealthReport
    from owctl.ui.progress import RowState

NOT_HEALTHY = 3
DEFAULT_WAIT_SECONDS = 300.0
DEFAULT_INTERVAL_SECONDS = 2.0


class Request(NamedTuple):
    """What the command line asks for, as it was given: None where an option was not."""

    services: tuple[str, ...]
    deep: bool
    wait: bool
    timeout_seconds: float | None
    watch: bool
    interval_seconds: float | None
    probe_timeout_seconds: float
    output_format: str
    output: Path | None


class HealthCommand(click.Command):
    """Answers a wrong command line as a monitoring plugin where it was asked as one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; with ``--format nagios`` an error is one line on stdout, and exit code 3."""
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            joined = " ".join(words)
            if "--format nagios" not in joined and "--format=nagios" not in joined:
                raise
            from owctl.health.formats import UNKNOWN, unknown_line

            click.echo(unknown_line(error.format_message()))
            ctx.exit(UNKNOWN)


_EXAMPLES = examples(
    "owctl health --deep",
    "owctl health --wait --timeout 120",
    "owctl health --watch --interval 5",
    "owctl health --format nagios",
)


@click.command(cls=HealthCommand, epilog=_EXAMPLES)
@services_argument
@click.option(
    "--deep",
    is_flag=True,
    help="Also use each service as the application does: sign in to PostgreSQL and query, write to "
    "Redis, connect to Socket.IO, go through the frontend to the backend.",
)
@click.option(
    "--wait",
    is_flag=True,
    help="Ask until all are healthy. Exits with 6 when the time is up, with 1 as soon as a "
    "container has ended for good.",
)
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help=f"With --wait: how long to wait in all.  [default: {DEFAULT_WAIT_SECONDS:g}]",
)
@click.option(
    "--watch",
    is_flag=True,
    help="Go on asking until Ctrl-C: a live table; in a pipe, a line for each change, or with "
    "--json a document for each round.",
)
@click.option(
    "--interval",
    "interval_seconds",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help=f"With --watch: from one round to the next.  [default: {DEFAULT_INTERVAL_SECONDS:g}]",
)
@click.option(
    "--probe-timeout",
    "probe_timeout_seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=5,
    show_default=True,
    metavar="SECONDS",
    help="How long each service may take to answer; all are asked at once.",
)
@format_option("table", "json", "prometheus", "nagios")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With --format prometheus: replace FILE, whole and at once, for node_exporter's textfile "
    "collector.",
)
@pass_context
def health(context: Context, /, **given: Any) -> int:  # noqa: ANN401  # click's
    """Ask every service, in its own protocol, whether it works.

    Exits with 0 if all that were asked are healthy, else with 3. Only with --format nagios: 0, 1, 2
    and 3 as monitoring plugins do.
    """
    request = Request(**given)
    if request.output_format == "nagios":
        return _as_plugin(context, request)
    refuse_nonsense(request)
    if request.watch:
        return _watch(context, request)
    if request.wait:
        return _wait(context, request)
    report = _ask(context, request)
    _print(context, request, report)
    return 0 if report.status == "healthy" else NOT_HEALTHY


def refuse_nonsense(request: Request) -> None:
    """Raise UsageError for options that do not go together."""
    plain = request.output_format in ("table", "json")
    rules = (
        (
            request.watch and request.wait,
            "--watch never ends, and --wait ends: they do not go together.",
            "one of them",
        ),
        (
            request.watch and not plain,
            f"--watch prints a table or JSON, not --format {request.output_format}.",
            "owctl health --watch --json, or a timer that runs the command again",
        ),
        (
            request.wait and request.output_format == "nagios",
            "A monitoring plugin answers at once: --wait does not go with --format nagios.",
            "owctl health --format nagios",
        ),
        (
            request.timeout_seconds is not None and not request.wait,
            "--timeout is how long --wait waits.",
            "--probe-timeout to limit each service's answer, or --wait --timeout SECONDS",
        ),
        (
            request.interval_seconds is not None and not request.watch,
            "--interval is the pace of --watch.",
            "owctl health --watch --interval SECONDS",
        ),
        (
            request.output is not None and request.output_format != "prometheus",
            "--output writes the metrics of --format prometheus.",
            f"--format prometheus --output {request.output}, or your shell's > for anything else",
        ),
    )
    for applies, message, hint in rules:
        if applies:
            raise UsageError(message, hint=hint)


def _ask(context: Context, request: Request) -> "HealthReport":
    from owctl.compose.services import resolve_services
    from owctl.health.check import check_stack

    # Files and names are looked at before the engine is.
    chosen = resolve_services(context.stack, request.services)
    return check_stack(
        context.engine,
        context.stack,
        chosen,
        timeout_seconds=request.probe_timeout_seconds,
        deep=request.deep,
    )


def _print(context: Context, request: Request, report: "HealthReport") -> None:
    if request.output_format == "json":
        context.console.json(report.to_json())
    elif request.output_format == "prometheus":
        from owctl.health.formats import exposition, write_exposition

        text = context.console.mask(exposition(report))
        if request.output is None:
            context.console.result(text.removesuffix("\n"))
        else:
            write_exposition(context.working_dir / request.output, text)
    else:
        from owctl.commands.health_table import print_report

        print_report(context.console, report)


def _watch(context: Context, request: Request) -> int:
    from owctl.commands.health_table import watch

    # What is wrong with files, names and engine at the start ends it; later it is shown.
    _ = context.stack, context.engine
    return watch(
        context.console,
        context.stack.project,
        lambda: _ask(context, request),
        interval_seconds=request.interval_seconds or DEFAULT_INTERVAL_SECONDS,
        as_json=request.output_format == "json",
    )


def _wait(context: Context, request: Request) -> int:
    from owctl.compose.services import resolve_services
    from owctl.health.result import lines_of
    from owctl.health.wait import Wait, wait_until_healthy

    chosen = resolve_services(context.stack, request.services)
    wait = Wait(
        context.engine,
        context.stack,
        chosen,
        timeout_seconds=request.timeout_seconds or DEFAULT_WAIT_SECONDS,
        probe_timeout_seconds=request.probe_timeout_seconds,
        deep=request.deep,
    )
    settled: set[str] = set()
    with context.console.progress("Waiting until healthy") as progress:

        def show(report: "HealthReport", over: bool = False) -> None:
            for line in lines_of(report):
                if line.status in ("healthy", "skipped"):
                    # Once: its time is how long it took to become so.
                    if line.name not in settled:
                        progress.update(line.name, "done", line.detail)
                    settled.add(line.name)
                else:
                    settled.discard(line.name)
                    state: RowState = "failed" if over else "working"
                    progress.update(line.name, state, f"{line.status}, {line.detail}")

        outcome = wait_until_healthy(wait, on_round=show)
        show(outcome.report, over=True)
    _print(context, request, outcome.report)
    if outcome.failure is not None:
        raise outcome.failure
    return 0


def _as_plugin(context: Context, request: Request) -> int:
    """Answer as a monitoring plugin: whatever goes wrong is one line on stdout and exit code 3."""
    from owctl.health.formats import UNKNOWN, plugin_result, unknown_line

    try:
        refuse_nonsense(request)
        code, line = plugin_result(_ask(context, request))
    except OwctlError as error:
        code, line = UNKNOWN, unknown_line(" ".join([error.message, *error.details]))
    except Exception as error:  # noqa: BLE001  # not swallowed: it is the answer
        code, line = UNKNOWN, unknown_line(f"{type(error).__name__}: {error}")
    context.console.result(line)
    return code
