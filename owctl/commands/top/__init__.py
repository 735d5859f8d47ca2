"""``owctl top``: health, consumption and logs on one screen."""

import sys

import click

from owctl.commands.options import examples, pass_context
from owctl.context import Context
from owctl.errors import Interrupted, UsageError

_EXAMPLES = (
    examples("owctl top", "owctl top --interval 5")
    + """

Then ↓ to a service, r to restart it, s for a shell in it, /error to see only lines with that word, q to
leave."""
)


@click.command(epilog=_EXAMPLES)
@click.option(
    "--interval",
    "interval_seconds",
    type=click.FloatRange(min=0.5),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="From one reading of the containers' consumption to the next.",
)
@pass_context
def top(context: Context, interval_seconds: float) -> int:
    """Watch health, consumption and logs on one screen, and act on it.

    Keys: ↑ ↓ select a service; / filters services and log lines; r restarts the selected one
    (asks first); s opens a shell in it; l shows its log on the whole screen; o only its lines
    below; ? lists all keys; q quits. Secrets are masked.
    """
    _refuse_without_terminal(context)
    # What is wrong with files and engine at the start ends it; later it is shown.
    _ = context.stack, context.engine
    from owctl.commands.top.run import Top

    try:
        Top(context, interval_seconds).run()
    except KeyboardInterrupt:
        return Interrupted.exit_code
    return 0


def _refuse_without_terminal(context: Context) -> None:
    terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    if terminal and context.environ.get("TERM", "dumb") != "dumb":
        return
    why = "has no terminal" if not terminal else "has one that cannot move its cursor (TERM)"
    raise UsageError(
        f"owctl top draws on a whole terminal, and this run {why}.",
        hint="owctl stats --no-stream; owctl health; owctl logs --tail 20; over ssh: ssh -t",
    )
