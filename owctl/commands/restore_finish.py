"""``owctl restore finish``: what was restored is kept, what was there before is dropped."""

from typing import Any

import click

from owctl.commands.options import examples
from owctl.commands.restore_after import After, after_options, end_restore
from owctl.context import Context

_EXAMPLES = examples("owctl restore finish --dry-run", "owctl restore finish --yes")
FINISH = After(
    name="finish",
    working="Finishing",
    drops="drops what was there before",
    would="would be finished",
    done="is finished: what was there before is gone",
    question=lambda stack, journal: (
        f"Drop what {stack.project} had before the restore of {journal.backup_id}?"
    ),
)


@click.command("finish", epilog=_EXAMPLES)
@after_options
def restore_finish(context: Context, **options: Any) -> None:  # noqa: ANN401
    """Keep what was restored; drop what was there before.

    Afterwards there is no way back but a backup.
    """
    from owctl.backup.restore.undo import finish_restore

    end_restore(context, FINISH, finish_restore, **options)
