"""``--on-failure`` and ``--ping``: somebody learns how a backup ended, also when nobody looks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from owctl.context import Context
from owctl.errors import Interrupted, OwctlError


def hook_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add both options; the command gets ``on_failure`` and ``ping_url``, each a text or None."""
    function = click.option(
        "--ping",
        "ping_url",
        metavar="URL",
        help="Ask this address after success, URL/fail after a failure.",
    )(function)
    return click.option(
        "--on-failure",
        metavar="COMMAND",
        help="Run this when the backup fails or is interrupted (OWCTL_ERROR says why).",
    )(function)


@contextmanager
def hooks(context: Context, on_failure: str | None, ping_url: str | None) -> Iterator[None]:
    """Tell of the outcome of a block. What fails in telling is a warning, and changes nothing.

    Raises UsageError for an address that cannot be asked.
    """
    if ping_url is not None:
        from owctl.backup.notify import check_address

        check_address(ping_url)
    try:
        yield
    except BaseException as error:
        if on_failure is not None or ping_url is not None:
            _tell(context, _described(context, error), on_failure, ping_url)
        raise
    if ping_url is not None:
        _ping(context, ping_url, None)


def _described(context: Context, error: BaseException) -> tuple[str, int]:
    """Return what failed, for people, and the exit code that owctl will end with."""
    if isinstance(error, OwctlError):
        lines = [error.message, *error.details]
        if error.hint:
            lines.append(f"Try: {error.hint}")
        return context.console.mask("\n".join(lines)), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted.", Interrupted.exit_code
    return context.console.mask(f"{type(error).__name__}: {error}"), 1


def _tell(
    context: Context, outcome: tuple[str, int], on_failure: str | None, ping_url: str | None
) -> None:
    message, exit_code = outcome
    if ping_url is not None:
        _ping(context, ping_url, message)
    if on_failure is not None:
        from owctl.backup.notify import run_command

        environ = {
            **context.environ,
            "OWCTL_PROJECT": _project(context),
            "OWCTL_ERROR": message,
            "OWCTL_EXIT_CODE": str(exit_code),
        }
        if problem := run_command(on_failure, environ):
            context.console.warn(f"The command of --on-failure failed: {problem}.")


def _ping(context: Context, url: str, failure: str | None) -> None:
    from owctl.backup.notify import ping

    if problem := ping(url, failure):
        context.console.warn(f"The address of --ping was not told: {problem}.")


def _project(context: Context) -> str:
    """Return the project's name; that of its folder where the files cannot be read."""
    try:
        return context.stack.project
    except OwctlError:
        pass
    try:
        return context.settings.project_name or context.settings.project_dir.name
    except OwctlError:
        return context.working_dir.name
