"""``owctl restore status``: the restore that is under way, if one is."""

import click

from owctl.commands.options import examples, format_option, pass_context
from owctl.context import Context

_WORDS = {
    "staging": "interrupted before anything was touched: owctl restore resume, or undo",
    "staged": "interrupted before anything was touched: owctl restore resume, or undo",
    "swapping": "interrupted in the swap: owctl restore resume, or undo",
    "swapped": "in place: owctl restore finish, or undo",
    "undoing": "interrupted while it was undone: owctl restore undo",
    "finishing": "interrupted while it was finished: owctl restore finish",
}

_EXAMPLES = examples(
    "owctl restore status",
    "owctl restore status --json",
)


@click.command("status", epilog=_EXAMPLES)
@format_option("table", "json")
@pass_context
def restore_status(context: Context, output_format: str) -> None:
    """Show the restore that is under way, and what it keeps."""
    from owctl.backup.restore.journal import read_journal
    from owctl.commands.restore_report import age, journal_document

    stack, console = context.stack, context.console
    journal = read_journal(stack.working_dir)
    if output_format == "json":
        document = None if journal is None else journal_document(journal)
        console.json({"schema": 1, "project": stack.project, "restore": document})
        return
    if journal is None:
        console.result(f"No restore of {stack.project} is under way.")
        return
    console.result(f"Restore {journal.id} of {journal.backup_id}, begun {age(journal.started_at)}")
    console.result(f"  phase   {journal.phase}: {_WORDS[journal.phase]}")
    console.result(f"  parts   {', '.join(journal.parts)}")
    if journal.database is not None:
        console.result(f"  kept    database {journal.database.kept}")
    for volume in journal.volumes:
        console.result(f"  kept    .owctl-restore-{journal.id} in the volume {volume.key}")
    if journal.safety_backup is not None:
        console.result(f"  safety  {journal.safety_backup}")
