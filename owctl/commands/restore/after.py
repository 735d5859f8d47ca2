"""``owctl restore undo``, ``finish``, ``resume`` and ``status``: what can be done after a restore, or with half of one."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

from owctl.commands.backup.place import given_identities, identity_option
from owctl.commands.changeover import (
    End,
    end_changeover,
    resume_changeover,
    show_resumed,
    show_status,
)
from owctl.commands.options import (
    Run,
    examples,
    format_option,
    lock_wait_option,
    mutating,
    pass_context,
)
from owctl.context import Context

if TYPE_CHECKING:
    from owctl.backup.restore.journal import Journal
    from owctl.backup.restore.run import RestoreOutcome
    from owctl.commands.progress import Display

_FINISH = End(
    action="finish",
    working="Finishing",
    drops="drops what was there before",
    would="would be finished",
    done="is finished: what was there before is gone",
)
_UNDO = End(
    action="undo",
    working="Undoing",
    drops="drops what was restored",
    would="would be undone",
    done="is undone: everything is as it was before",
)
_PHASES = {
    "staging": "interrupted before anything was touched: owctl restore resume, or undo",
    "staged": "interrupted before anything was touched: owctl restore resume, or undo",
    "swapping": "interrupted in the swap: owctl restore resume, or undo",
    "swapped": "in place: owctl restore finish, or undo",
    "undoing": "interrupted while it was undone: owctl restore undo",
    "finishing": "interrupted while it was finished: owctl restore finish",
}
_FINISH_EXAMPLES = examples("owctl restore finish --dry-run", "owctl restore finish --yes")
_UNDO_EXAMPLES = examples("owctl restore undo --dry-run", "owctl restore undo --yes")
_RESUME_EXAMPLES = examples("owctl restore resume", "owctl restore resume --identity key.txt")
_STATUS_EXAMPLES = examples("owctl restore status", "owctl restore status --json")


def _end(
    context: Context,
    end: End,
    act: Callable[..., None],
    question: "Callable[[Journal], str]",
    how: Run,
) -> None:
    from owctl.backup.restore.journal import Journal

    def call(journal: Journal, display: "Display") -> None:
        act(context.engine, context.stack, journal, display, timeout_seconds=how.timeout_seconds)

    end_changeover(context, Journal, end, how, question, call)


@click.command("finish", epilog=_FINISH_EXAMPLES)
@mutating("table", "json", yes=True, timeout=True)
def restore_finish(context: Context, how: Run) -> None:
    """Keep what was restored; drop what was there before.

    Afterwards there is no way back but a backup.
    """
    from owctl.backup.restore.run import finish_restore

    def question(journal: "Journal") -> str:
        return f"Drop what {context.stack.project} had before the {journal.name}?"

    _end(context, _FINISH, finish_restore, question, how)


@click.command("undo", epilog=_UNDO_EXAMPLES)
@mutating("table", "json", yes=True, timeout=True)
def restore_undo(context: Context, how: Run) -> None:
    """Go back to what was there before the restore.

    What was restored is dropped, with all that was written since.
    """
    from owctl.backup.restore.run import undo_restore

    def question(journal: "Journal") -> str:
        lost = "What was written since is lost. " if journal.phase == "swapped" else ""
        return f"{lost}Put {context.stack.project} back as it was before {journal.started_at}?"

    _end(context, _UNDO, undo_restore, question, how)


@click.command("resume", epilog=_RESUME_EXAMPLES)
@identity_option
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long each service may take until it answers.  [default: as when it began]",
)
@lock_wait_option
@format_option("table", "json")
@pass_context
def restore_resume(
    context: Context,
    identity_files: tuple[str, ...],
    timeout_seconds: float | None,
    lock_wait_seconds: float,
    output_format: str,
) -> None:
    """Go on with a restore that was interrupted.

    As it was told to when it began: --only, --no-start, --no-safety-backup, --timeout.
    """
    from owctl.backup.restore.journal import Journal
    from owctl.backup.restore.legacy import open_source
    from owctl.backup.restore.plan import READY_SECONDS, RestoreRequest
    from owctl.backup.restore.run import resume_restore
    from owctl.commands.restore.report import outcome_document, show_outcome

    opening = partial(open_source, identities=given_identities(context, identity_files))

    def act(journal: Journal, display: "Display") -> "RestoreOutcome | None":
        seconds = timeout_seconds or journal.timeout_seconds or READY_SECONDS
        request = RestoreRequest(timeout_seconds=seconds)
        return resume_restore(context.engine, context.stack, journal, opening, request, display)

    journal, outcome = resume_changeover(context, Journal, lock_wait_seconds, act)
    if outcome is None:
        show_resumed(context, journal, output_format)
    elif output_format == "json":
        context.console.json(outcome_document(context.stack.project, outcome))
    else:
        show_outcome(context, outcome)


@click.command("status", epilog=_STATUS_EXAMPLES)
@format_option("table", "json")
@pass_context
def restore_status(context: Context, output_format: str) -> None:
    """Show the restore that is under way, and what it keeps."""
    from owctl.backup.restore.journal import Journal

    show_status(context, Journal, _status_lines, output_format)


def _status_lines(journal: "Journal") -> list[str]:
    from owctl.figures import with_age

    lines = [
        f"Restore {journal.id} of {journal.backup_id}, begun {with_age(journal.started_at)}",
        f"  phase   {journal.phase}: {_PHASES[journal.phase]}",
        f"  parts   {', '.join(journal.parts)}",
    ]
    if journal.database is not None:
        lines.append(f"  kept    database {journal.database.kept}")
    lines += [
        f"  kept    .owctl-restore-{journal.id} in the volume {volume.key}"
        for volume in journal.volumes
    ]
    if journal.safety_backup is not None:
        lines.append(f"  safety  {journal.safety_backup}")
    return lines
