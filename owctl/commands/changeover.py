"""What can be done after a restore or an upgrade of PostgreSQL, or with half of one: the commands' common flow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from owctl.context import Context
from owctl.errors import UsageError

if TYPE_CHECKING:
    from owctl.changeover.journal import Journal, Kind
    from owctl.commands.options import Run
    from owctl.commands.progress import Display

_J = TypeVar("_J", bound="Journal")
_T = TypeVar("_T")
# What a journal has for owctl alone.
_INTERNAL = (
    "schema",
    "project",
    "engine_id",
    "had_containers",
    "started",
    "anew",
    "halted",
    "wants_safety_backup",
    "wants_start",
    "timeout_seconds",
)


@dataclass(frozen=True, slots=True)
class End:
    """A way to end a changeover, in words.

    ``action`` is what it is called, ``working`` the progress bar's verb, ``drops`` what is lost,
    ``would`` and ``done`` what the result says.
    """

    action: str
    working: str
    drops: str
    would: str
    done: str


def end_changeover(
    context: Context,
    journals: type[_J],
    end: End,
    how: "Run",
    question: Callable[[_J], str | None],
    act: "Callable[[_J, Display], None]",
) -> _J:
    """Ask, finish or undo under the lock, and say how it went; returns the journal as it was found.

    ``question`` returns what is asked, None where there is nothing to lose any more.
    """
    from owctl.commands.mutation import mutation
    from owctl.commands.options import confirm, require_answerable
    from owctl.commands.progress import Display

    if how.dry_run:
        journal = require_journal(context, journals)
        show_end(context, journal, end.would, how.output_format, dry_run=True)
        return journal
    require_answerable(how.yes, end.drops)
    with mutation(context, _command(journals.kind, end.action), how.lock_wait_seconds):
        journal = require_journal(context, journals)
        if not how.yes and (text := question(journal)) is not None:
            confirm(context, how.yes, text, end.drops)
        with context.console.progress(f"{end.working} the {journal.name}") as progress:
            act(journal, Display(context.console, progress))
    show_end(context, journal, end.done, how.output_format)
    return journal


def resume_changeover(
    context: Context,
    journals: type[_J],
    lock_wait_seconds: float,
    act: "Callable[[_J, Display], _T]",
) -> tuple[_J, _T]:
    """Go on under the lock; returns the journal as it was found, and what ``act`` does."""
    from owctl.commands.mutation import mutation
    from owctl.commands.progress import Display

    with mutation(context, _command(journals.kind, "resume"), lock_wait_seconds):
        journal = require_journal(context, journals)
        with context.console.progress(f"Resuming the {journal.name}") as progress:
            return journal, act(journal, Display(context.console, progress))


def show_resumed(context: Context, journal: "Journal", output_format: str) -> None:
    """Say what a changeover has come to that was not begun again."""
    kind = journal.kind
    words = {"undoing": "is undone", "finishing": "is finished"}
    done = words.get(journal.phase, f"is in place: {kind.way('finish', 'undo')}")
    show_end(context, journal, done, output_format)


def show_end(
    context: Context, journal: "Journal", what: str, output_format: str, *, dry_run: bool = False
) -> None:
    """Say what became of a changeover.

    In JSON, ``found`` is the journal as it was found, and ``restore`` or ``upgrade`` as it is now.
    """
    if output_format != "json":
        context.console.result(f"The {journal.name} {what}.")
        return
    now = journal.read(context.stack.working_dir)
    context.console.document(
        context.stack.project,
        dry_run=dry_run,
        found=journal_document(journal),
        **{journal.kind.noun: None if now is None else journal_document(now)},
    )


def show_status(
    context: Context,
    journals: type[_J],
    lines: Callable[[_J], list[str]],
    output_format: str,
) -> None:
    """Print the changeover that is under way, if one is."""
    console, project = context.console, context.stack.project
    journal = journals.read(context.stack.working_dir)
    if output_format == "json":
        document = None if journal is None else journal_document(journal)
        console.document(project, **{journals.kind.noun: document})
        return
    if journal is None:
        console.result(f"No {_subject(journals.kind)} of {project} is under way.")
        return
    for line in lines(journal):
        console.result(line)


def require_journal(context: Context, journals: type[_J]) -> _J:
    """Return the journal of what is under way; raises UsageError if nothing is."""
    kind = journals.kind
    journal = journals.read(context.stack.working_dir)
    if journal is None:
        raise UsageError(
            f"No {_subject(kind)} of {context.stack.project} is under way.",
            hint="owctl restore latest --dry-run"
            if kind.noun == "restore"
            else f"owctl {kind.command} --dry-run",
        )
    return journal


def journal_document(journal: "Journal") -> dict[str, Any]:
    """Return a journal as ``--json`` prints it."""
    return {name: value for name, value in journal.to_json().items() if name not in _INTERNAL}


def _subject(kind: "Kind") -> str:
    return "restore" if kind.noun == "restore" else "upgrade of PostgreSQL"


def _command(kind: "Kind", action: str) -> str:
    # An option's value is not part of the command's name.
    return f"{kind.command} {action}" if kind.noun == "restore" else kind.command
