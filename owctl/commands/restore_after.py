"""What the commands after a restore share: the journal that must be there, and the report."""

from typing import TYPE_CHECKING

from owctl.context import Context
from owctl.errors import UsageError

if TYPE_CHECKING:
    from owctl.backup.restore.journal import Journal
    from owctl.compose.model import Stack


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
    """Say what became of a restore. In JSON, ``found`` is the journal as it was found, and
    ``restore`` as it is now."""
    from owctl.backup.restore.journal import read_journal
    from owctl.commands.restore_report import journal_document

    if output_format != "json":
        context.console.result(f"The restore of {journal.backup_id} {what}.")
        return
    now = read_journal(context.stack.working_dir)
    context.console.json(
        {
            "schema": 1,
            "project": context.stack.project,
            "dry_run": dry_run,
            "found": journal_document(journal),
            "restore": None if now is None else journal_document(now),
        }
    )
