"""``owctl restore undo``, ``finish``, ``resume`` and ``status``: what can be done after a restore, or with half of one."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from owctl.commands.backup.place import given_identities, identity_option
from owctl.commands.options import (
    dry_run_option,
    examples,
    format_option,
    lock_wait_option,
    pass_context,
    timeout_option,
    yes_option,
)
from owctl.commands.progress import Display
from owctl.context import Context
from owctl.errors import UsageError
from owctl.figures import with_age

if TYPE_CHECKING:
    from owctl.backup.restore.journal import Journal
    from owctl.compose.model import Stack


# -- What the commands after a restore share: the journal that must be there, the flow, the report.


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
    from owctl.commands.mutation import mutation
    from owctl.commands.options import confirm, require_answerable

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
            display = Display(context.console, progress)
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
    from owctl.commands.restore.report import journal_document

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


# -- ``owctl restore finish``: what was restored is kept, what was there before is dropped.


_FINISH_EXAMPLES = examples("owctl restore finish --dry-run", "owctl restore finish --yes")
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


@click.command("finish", epilog=_FINISH_EXAMPLES)
@after_options
def restore_finish(context: Context, **options: Any) -> None:  # noqa: ANN401
    """Keep what was restored; drop what was there before.

    Afterwards there is no way back but a backup.
    """
    from owctl.backup.restore.pieces import finish_restore

    end_restore(context, FINISH, finish_restore, **options)


# -- ``owctl restore undo``: back to what was there before.


def _question(stack: "Stack", journal: "Journal") -> str:
    lost = "What was written since is lost. " if journal.phase == "swapped" else ""
    return f"{lost}Put {stack.project} back as it was before {journal.started_at}?"


_UNDO_EXAMPLES = examples("owctl restore undo --dry-run", "owctl restore undo --yes")
UNDO = After(
    name="undo",
    working="Undoing",
    drops="drops what was restored",
    would="would be undone",
    done="is undone: everything is as it was before",
    question=_question,
)


@click.command("undo", epilog=_UNDO_EXAMPLES)
@after_options
def restore_undo(context: Context, **options: Any) -> None:  # noqa: ANN401
    """Go back to what was there before the restore.

    What was restored is dropped, with all that was written since.
    """
    from owctl.backup.restore.pieces import undo_restore

    end_restore(context, UNDO, undo_restore, **options)


# -- ``owctl restore resume``: an interrupted restore, undo or finish brought to its end.


_RESUME_EXAMPLES = examples(
    "owctl restore resume",
    "owctl restore resume --identity key.txt",
)


@click.command("resume", epilog=_RESUME_EXAMPLES)
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
    from owctl.backup.restore.legacy import open_source
    from owctl.backup.restore.plan import RestoreRequest
    from owctl.backup.restore.run import resume_restore
    from owctl.commands.mutation import mutation
    from owctl.commands.restore.report import outcome_document, show_outcome

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
                Display(context.console, progress),
            )
    if outcome is None:
        words = {"undoing": "is undone", "finishing": "is finished"}
        done = words.get(journal.phase, "is in place: owctl restore finish, or owctl restore undo")
        report(context, journal, done, output_format)
    elif output_format == "json":
        context.console.json(outcome_document(stack.project, outcome))
    else:
        show_outcome(context, outcome)


# -- ``owctl restore status``: the restore that is under way, if one is.


_WORDS = {
    "staging": "interrupted before anything was touched: owctl restore resume, or undo",
    "staged": "interrupted before anything was touched: owctl restore resume, or undo",
    "swapping": "interrupted in the swap: owctl restore resume, or undo",
    "swapped": "in place: owctl restore finish, or undo",
    "undoing": "interrupted while it was undone: owctl restore undo",
    "finishing": "interrupted while it was finished: owctl restore finish",
}

_STATUS_EXAMPLES = examples(
    "owctl restore status",
    "owctl restore status --json",
)


@click.command("status", epilog=_STATUS_EXAMPLES)
@format_option("table", "json")
@pass_context
def restore_status(context: Context, output_format: str) -> None:
    """Show the restore that is under way, and what it keeps."""
    from owctl.backup.restore.journal import read_journal
    from owctl.commands.restore.report import journal_document

    stack, console = context.stack, context.console
    journal = read_journal(stack.working_dir)
    if output_format == "json":
        document = None if journal is None else journal_document(journal)
        console.json({"schema": 1, "project": stack.project, "restore": document})
        return
    if journal is None:
        console.result(f"No restore of {stack.project} is under way.")
        return
    console.result(
        f"Restore {journal.id} of {journal.backup_id}, begun {with_age(journal.started_at)}"
    )
    console.result(f"  phase   {journal.phase}: {_WORDS[journal.phase]}")
    console.result(f"  parts   {', '.join(journal.parts)}")
    if journal.database is not None:
        console.result(f"  kept    database {journal.database.kept}")
    for volume in journal.volumes:
        console.result(f"  kept    .owctl-restore-{journal.id} in the volume {volume.key}")
    if journal.safety_backup is not None:
        console.result(f"  safety  {journal.safety_backup}")
