"""``owctl restore finish``: what was restored is kept, what was there before is dropped."""

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
    "owctl restore finish",
    "owctl restore finish --yes",
)


@click.command("finish", epilog=_EXAMPLES)
@yes_option
@timeout_option
@dry_run_option
@lock_wait_option
@format_option("table", "json")
@pass_context
def restore_finish(
    context: Context,
    yes: bool,
    timeout_seconds: float,
    dry_run: bool,
    lock_wait_seconds: float,
    output_format: str,
) -> None:
    """Keep what was restored; drop what was there before.

    Afterwards there is no way back but a backup.
    """
    from owctl.backup.restore.undo import finish_restore
    from owctl.commands.confirmation import confirm, require_answerable
    from owctl.commands.mutation import mutation
    from owctl.commands.restore_after import report, require_journal
    from owctl.commands.restore_display import RestoreDisplay

    stack, engine = context.stack, context.engine
    if dry_run:
        journal = require_journal(stack)
        report(context, journal, "would be finished", output_format, dry_run=True)
        return
    what = "drops what was there before"
    require_answerable(yes, what)
    with mutation(context, "restore finish", lock_wait_seconds):
        journal = require_journal(stack)
        question = f"Drop what {stack.project} had before the restore of {journal.backup_id}?"
        confirm(context, yes, question, what)
        with context.console.progress(f"Finishing the restore of {journal.backup_id}") as progress:
            finish_restore(
                engine,
                stack,
                journal,
                RestoreDisplay(context, progress),
                timeout_seconds=timeout_seconds,
            )
    report(context, journal, "is finished: what was there before is gone", output_format)
