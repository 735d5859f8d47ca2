"""``--keep-last`` and its kin, and what `owctl backup` does with them after a new backup."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from owctl.backup.retention import Rules
from owctl.context import Context
from owctl.errors import OwctlError

_LOCK_WAIT_SECONDS = 60.0
_RULES = (
    ("last", "Keep the newest N backups."),
    ("daily", "Keep the newest of each of the last N days that have one (UTC)."),
    ("weekly", "The same for weeks, from Monday to Sunday."),
    ("monthly", "The same for months."),
)


def retention_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--keep-*``; the command gets ``rules``."""

    @functools.wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401  # whatever the command takes
        counts = {name: options.pop(f"keep_{name}") or 0 for name, _ in _RULES}
        return function(*arguments, rules=Rules(**counts), **options)

    decorated: Callable[..., Any] = wrapped
    for name, text in reversed(_RULES):
        decorated = click.option(
            f"--keep-{name}", type=click.IntRange(min=1), metavar="N", help=text
        )(decorated)
    return decorated


def prune_after_backup(
    context: Context, created: Path, project: str, rules: Rules
) -> Sequence[str]:
    """Remove what the rules let go, now that ``created`` was verified; return the removed ids.

    No rules remove nothing. Raises OwctlError; the new backup stays whatever happens.
    """
    if not rules:
        return ()
    from owctl.backup.prune import plan_prune, prune
    from owctl.project.lock import folder_lock

    try:
        with folder_lock(created.parent, "backup", wait_seconds=_LOCK_WAIT_SECONDS):
            pruned = prune(plan_prune(created.parent, project, rules), trusted={created.name})
    except OwctlError as error:
        error.message = (
            f"The backup {created} was made, older ones were not removed. {error.message}"
        )
        raise
    warn_of_busy(context, pruned.busy)
    if pruned.removed:
        context.console.info(f"Removed by the rules: {', '.join(pruned.removed)}.")
    return pruned.removed


def warn_of_busy(context: Context, busy: Sequence[str]) -> None:
    """Say what was not removed because another owctl reads it."""
    if busy:
        context.console.warn(f"Not removed, because another owctl reads it: {', '.join(busy)}.")
