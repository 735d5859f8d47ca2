"""``owctl migrate rollback``: back to the old container."""

import click

from owctl.commands.completers import complete_migration
from owctl.commands.options import Run, confirm, examples, mutating
from owctl.commands.progress import Display
from owctl.context import Context
from owctl.errors import ConfirmationRequired

_EXAMPLES = examples(
    "owctl migrate rollback",
    "owctl migrate rollback --yes",
)


@click.command("rollback", epilog=_EXAMPLES)
@click.argument(
    "migration", required=False, metavar="[MIGRATION]", shell_complete=complete_migration
)
@mutating("table", "json", yes=True, dry_run=False)
def migrate_rollback(
    context: Context,
    migration: str | None,
    how: Run,
) -> None:
    """Stop the new stack, start the old container again.

    The newest migration's, or that of the id. The data of the new stack stays where it is; what
    was written to it since is not carried back.
    """
    from owctl.commands.migrate.report import STEPS
    from owctl.commands.mutation import mutation
    from owctl.migrate.folder import find_folder, read_journal
    from owctl.migrate.run import go_back

    stack = context.stack
    journal = read_journal(find_folder(stack.working_dir, migration))
    question = f"Stop {stack.project} and start {journal.origin['name']} again?"
    unanswered = ConfirmationRequired(
        "Going back stops the new stack, and there is no terminal to ask on.",
        hint="owctl migrate rollback --yes",
    )
    declined = "Nothing was changed."
    confirm(context, how.yes, question, unanswered, declined=declined, ask=not how.as_json)
    with (
        mutation(context, "migrate rollback", how.lock_wait_seconds),
        context.console.progress("Going back") as progress,
    ):
        name = go_back(
            context.engine, stack, journal, Display(context.console, progress, names=STEPS)
        )
    if how.as_json:
        context.console.document(stack.project, id=journal.id, container=name)
    else:
        context.console.result(f"{name} runs again; {stack.project} is stopped, its data is kept.")
