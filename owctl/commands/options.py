"""Options, arguments and questions that several commands share."""

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import click

from owctl.commands.completers import complete_service
from owctl.context import Context
from owctl.errors import ConfirmationRequired, Interrupted, OwctlError

pass_context = click.make_pass_decorator(Context)

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def format_option(*formats: str, text: str = "How to print the result.") -> Decorator:
    """``--format`` with ``--json`` as its short form; the command gets ``output_format``."""
    choices = formats or ("table", "json")

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        function = click.option(
            "--json", "output_format", flag_value="json", help="Short for --format json."
        )(function)
        return click.option(
            "--format",
            "output_format",
            type=click.Choice(choices),
            default=choices[0],
            show_default=True,
            help=text,
        )(function)

    return decorate


def examples(*lines: str) -> str:
    """Return the epilog that shows command lines; each is parsed by a test."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


services_argument = click.argument(
    "services", nargs=-1, metavar="[SERVICE]...", shell_complete=complete_service
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Print what would be done; change nothing."
)


def _only_of_a_plan(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    # Eager options come first, so whether --dry-run was given is known here.
    if value and not ctx.params.get("dry_run"):
        raise click.UsageError("--json goes with --dry-run: it prints the plan.", ctx)
    return value


def plan_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--dry-run``, and ``--json`` for what it prints; the command gets ``dry_run``, ``as_json``."""
    function = click.option(
        "--json",
        "as_json",
        is_flag=True,
        callback=_only_of_a_plan,
        help="With --dry-run: as one document.",
    )(function)
    return click.option(
        "--dry-run",
        is_flag=True,
        is_eager=True,
        help="Print what would be done; change nothing.",
    )(function)


def ignore_option(checks: Sequence[str]) -> Decorator:
    """``--ignore CHECK``, repeatable; the command gets ``ignore``, a tuple of names."""
    return click.option(
        "--ignore",
        multiple=True,
        type=click.Choice(checks),
        metavar="CHECK",
        help=f"Leave a check out (repeatable): {', '.join(checks)}.",
    )


lock_wait_option = click.option(
    "--lock-wait",
    "lock_wait_seconds",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="Wait that long while another owctl changes this project.",
)
timeout_option = click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How long each service may take until it answers.",
)
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@dataclass(frozen=True, slots=True)
class Run:
    """How a command is to change something; what it has no option for is as it stands here."""

    yes: bool = False
    timeout_seconds: float = 300
    dry_run: bool = False
    lock_wait_seconds: float = 0
    output_format: str = "table"

    @property
    def as_json(self) -> bool:
        """Whether the result is one JSON document."""
        return self.output_format == "json"


def mutating(
    *formats: str,
    yes: bool = False,
    timeout: bool = False,
    dry_run: bool = True,
    plan: bool = False,
) -> Decorator:
    """Give a command that changes something its context, and a Run by the name of ``how``.

    ``--lock-wait`` all have; ``formats`` are those of ``--format``, ``plan`` adds ``--json`` to
    ``--dry-run``. An option of the command's own by the name of a field goes into ``how``, too.
    """
    stack = [
        *([yes_option] if yes else []),
        *([timeout_option] if timeout else []),
        *([plan_options] if plan else [dry_run_option] if dry_run else []),
        lock_wait_option,
        *([format_option(*formats)] if formats else []),
    ]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @pass_context
        @functools.wraps(function)
        def command(context: Context, /, **given: Any) -> Any:  # noqa: ANN401  # click's
            if given.pop("as_json", False):
                given["output_format"] = "json"
            context.console.must_end()
            shared = {each.name: given.pop(each.name) for each in fields(Run) if each.name in given}
            return function(context, how=Run(**shared), **given)

        changing: Callable[..., Any] = command
        for option in reversed(stack):
            changing = option(changing)
        return changing

    return decorate


# -- Asking before something is lost


def require_answerable(yes: bool, what: str) -> None:
    """Refuse early what would have to be asked where nobody can answer.

    ``what`` ends the sentence "owctl asks before it …". Raises ConfirmationRequired.
    """
    if not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfirmationRequired(
            f"owctl asks before it {what}, and there is no terminal to ask on.",
            hint="the same command with --yes",
        )


def confirm(
    context: Context,
    yes: bool,
    question: str,
    unanswered: str | ConfirmationRequired,
    *,
    declined: str | None = None,
    ask: bool = True,
) -> None:
    """Ask ``question`` unless ``yes``.

    Raises ``unanswered``, or that of ``require_answerable``, where nobody can answer or ``ask`` is
    False; if the answer is no, Interrupted with ``declined``, or OwctlError without.
    """
    if yes:
        return
    answer = context.console.confirm(question) if ask else None
    if answer is None:
        if isinstance(unanswered, ConfirmationRequired):
            raise unanswered
        require_answerable(yes, unanswered)
    if not answer and declined is not None:
        raise Interrupted(declined)
    if not answer:
        raise OwctlError("Nothing was changed.", hint="the same command, and y")
