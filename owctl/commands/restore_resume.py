"""``owctl restore resume``: an interrupted restore, undo or finish brought to its end."""

from functools import partial

import click

from owctl.commands.identity_option import given_identities, identity_option
from owctl.commands.options import (
    examples,
    format_option,
    lock_wait_option,
    pass_context,
    timeout_option,
)
from owctl.context import Context

_EXAMPLES = examples(
    "owctl restore resume",
    "owctl restore resume --identity key.txt",
)


@click.command("resume", epilog=_EXAMPLES)
@identity_option
@timeout_option
@lock_wait_option
@format_option("table", "json")
@pass_context
def restore_resume(
    context: Context,
    identity_files: tuple[str, ...],
    timeout_seconds: float,
    lock_wait_seconds: float,
    output_format: str,
) -> None:
    """Go on with a restore that was interrupted."""
    from owctl.backup.restore.plan import RestoreRequest
    from owctl.backup.restore.resume import resume_restore
    from owctl.backup.restore.sources import open_source
    from owctl.commands.mutation import mutation
    from owctl.commands.restore_after import report, require_journal
    from owctl.commands.restore_display import RestoreDisplay
    from owctl.commands.restore_report import outcome_document, show_outcome

    identities = given_identities(context, identity_files)
    stack, engine = context.stack, context.engine
    with mutation(context, "restore resume", lock_wait_seconds):
        journal = require_journal(stack)
        with context.console.progress(f"Resuming the restore of {journal.backup_id}") as progress:
            outcome = resume_restore(
                engine,
                stack,
                journal,
                partial(open_source, identities=identities),
                RestoreRequest(timeout_seconds=timeout_seconds),
                RestoreDisplay(context, progress),
            )
    if outcome is None:
        words = {"undoing": "is undone", "finishing": "is finished"}
        done = words.get(journal.phase, "is in place: owctl restore finish, or owctl restore undo")
        report(context, journal, done, output_format)
    elif output_format == "json":
        context.console.json(outcome_document(stack.project, outcome))
    else:
        show_outcome(context, outcome)
