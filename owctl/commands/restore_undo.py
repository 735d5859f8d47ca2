"""``owctl restore undo``: back to what was there before."""

from typing import TYPE_CHECKING, Any

import click

from owctl.commands.options import examples
from owctl.commands.restore_after import After, after_options, end_restore
from owctl.context import Context

if TYPE_CHECKING:
    from owctl.backup.restore.journal import Journal
    from owctl.compose.model import Stack


def _question(stack: "Stack", journal: "Journal") -> str:
    lost = "What was written since is lost. " if journal.phase == "swapped" else ""
    return f"{lost}Put {stack.project} back as it was before {journal.started_at}?"


_EXAMPLES = examples("owctl restore undo --dry-run", "owctl restore undo --yes")
UNDO = After(
    name="undo",
    working="Undoing",
    drops="drops what was restored",
    would="would be undone",
    done="is undone: everything is as it was before",
    question=_question,
)


@click.command("undo", epilog=_EXAMPLES)
@after_options
def restore_undo(context: Context, **options: Any) -> None:  # noqa: ANN401
    """Go back to what was there before the restore.

    What was restored is dropped, with all that was written since.
    """
    from owctl.backup.restore.undo import undo_restore

    end_restore(context, UNDO, undo_restore, **options)
