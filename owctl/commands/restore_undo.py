"""``owctl restore undo``: back to what was there before."""

import click

from owctl.commands.options import (
    dry_run_option,
    examples,
    format_option,
    lock_wait_option,
    pass_context,
    timeout_option,
    yes_option,
)
from owctl.context import Context

_EXAMPLES = examples(
    "owctl restore undo --dry-run",
    "owctl restore undo",
)


@click.command("undo", epilog=_EXAMPLES)
@yes_option
@timeout_option
@dry_run_option
@lock_wait_option
@format_option("table", "json")
@pass_context
def restore_undo(
    context: Context,
    yes: bool,
    timeout_seconds: float,
    dry_run: bool,
    lock_wait_seconds: float,
    output_format: str,
) -> None:
    """Go back to what was there before the restore.

    What was restored is dropped, with all that was written since.
    """
    from owctl.backup.restore.undo import undo_restore
    from owctl.commands.confirmation import confirm, require_answerable
    from owctl.commands.mutation import mutation
    from owctl.commands.restore_after import report, require_journal
    from owctl.commands.restore_display import RestoreDisplay

    stack, engine = context.stack, context.engine
    if dry_run:
        journal = require_journal(stack)
        report(context, journal, "would be undone", output_format, dry_run=True)
        return
    what = "drops what was restored"
    require_answerable(yes, what)
    with mutation(context, "restore undo", lock_wait_seconds):
        journal = require_journal(stack)
        lost = "What was written since is lost. " if journal.phase == "swapped" else ""
        question = f"{lost}Put {stack.project} back as it was before {journal.started_at}?"
        confirm(context, yes, question, what)
        with context.console.progress(f"Undoing the restore of {journal.backup_id}") as progress:
            undo_restore(
                engine,
                stack,
                journal,
                RestoreDisplay(context, progress),
                timeout_seconds=timeout_seconds,
            )
    report(context, journal, "is undone: everything is as it was before", output_format)
