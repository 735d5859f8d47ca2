"""What the commands after a restore share: the journal that must be there, the flow, the report."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from owctl.commands.options import (
    dry_run_option,
    format_option,
    lock_wait_option,
    pass_context,
    timeout_option,
    yes_option,
)
from owctl.context import Context
from owctl.errors import UsageError

if TYPE_CHECKING:
    from owctl.backup.restore.journal import Journal
    from owctl.compose.model import Stack


@dataclass(frozen=True, slots=True)
class After:
    """A way to end a restore, in words.

    ``name`` is the subcommand's, ``working`` the progress bar's verb, ``drops`` what is lost, ``would``
    and ``done`` what the result says. ``question`` returns what is asked.
    """

    name: str
    working: str
    drops: str
    would: str
    done: str
    question: "Callable[[Stack, Journal], str]"


def after_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of ``end_restore``, and the context."""
    for decorator in (
        pass_context,
        format_option("table", "json"),
        lock_wait_option,
        dry_run_option,
        timeout_option,
        yes_option,
    ):
        function = decorator(function)
    return function


def end_restore(
    context: Context,
    after: After,
    act: "Callable[..., None]",
    *,
    yes: bool,
    timeout_seconds: float,
    dry_run: bool,
    lock_wait_seconds: float,
    output_format: str,
) -> None:
    """Ask, call ``act`` (finish_restore or undo_restore) under the lock, and say how it went."""
    from owctl.commands.confirmation import confirm, require_answerable
    from owctl.commands.mutation import mutation
    from owctl.commands.restore_display import RestoreDisplay

    stack, engine = context.stack, context.engine
    if dry_run:
        report(context, require_journal(stack), after.would, output_format, dry_run=True)
        return
    require_answerable(yes, after.drops)
    with mutation(context, f"restore {after.name}", lock_wait_seconds):
        journal = require_journal(stack)
        confirm(context, yes, after.question(stack, journal), after.drops)
        title = f"{after.working} the restore of {journal.backup_id}"
        with context.console.progress(title) as progress:
            display = RestoreDisplay(context, progress)
            act(engine, stack, journal, display, timeout_seconds=timeout_seconds)
    report(context, journal, after.done, output_format)


def require_journal(stack: "Stack") -> "Journal":
    """Return the journal of the restore that is under way; raises UsageError if none is."""
    from owctl.backup.restore.journal import read_journal

    journal = read_journal(stack.working_dir)
    if journal is None:
        raise UsageError(
            f"No restore of {stack.project} is under way.", hint="owctl restore latest --dry-run"
        )
    return journal


def report(
    context: Context, journal: "Journal", what: str, output_format: str, *, dry_run: bool = False
) -> None:
    """Say what became of a restore. In JSON, ``found`` is the journal as it was found, and ``restore`` as it is now."""
    from owctl.backup.restore.journal import read_journal
    from owctl.commands.restore_report import journal_document

    if output_format != "json":
        context.console.result(f"The restore of {journal.backup_id} {what}.")
        return
    now = read_journal(context.stack.working_dir)
    document: dict[str, Any] = {
        "schema": 1,
        "project": context.stack.project,
        "dry_run": dry_run,
        "found": journal_document(journal),
        "restore": None if now is None else journal_document(now),
    }
    context.console.json(document)
