"""``owctl migrate SOURCE`` and ``owctl migrate rollback``."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from owctl.commands.completers import complete_file, complete_folder, complete_migration
from owctl.commands.options import Run, confirm, examples, mutating
from owctl.commands.progress import Display
from owctl.context import Context
from owctl.errors import ConfirmationRequired, OwctlError, UsageError

if TYPE_CHECKING:
    from owctl.migrate.folder import Choices, Journal


# -- ``owctl migrate rollback``: back to the old container.


_ROLLBACK_EXAMPLES = examples(
    "owctl migrate rollback",
    "owctl migrate rollback --yes",
)


@click.command("rollback", epilog=_ROLLBACK_EXAMPLES)
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


# -- ``owctl migrate``: parse, ask, call the migrate room, render.


_FAILED = 1

_EXAMPLES = examples(
    "owctl migrate --from-container open-webui --dry-run",
    "owctl migrate --from-container open-webui --passwords one-time",
    "owctl migrate webui.db --uploads uploads",
    "owctl migrate --resume",
)


@click.command("run", epilog=_EXAMPLES)
@click.argument("source", required=False, metavar="[SOURCE]", shell_complete=complete_file)
@click.option(
    "--uploads",
    metavar="DIR",
    shell_complete=complete_folder,
    help="The folder of SOURCE's uploaded files.",
)
@click.option("--from-container", metavar="NAME", help="Take database and uploads from there.")
@click.option("--from-volume", metavar="NAME", help="The same, from a volume.")
@click.option("--resume", is_flag=True, help="Go on with the newest migration that was cut short.")
@click.option(
    "--passwords",
    type=click.Choice(["one-time", "keep"]),
    help="A generated password for every account, or the old hashes, which let nobody in.",
)
@click.option("--replace", is_flag=True, help="Replace what is there; a backup is made first.")
@click.option(
    "--on-duplicate-email",
    type=click.Choice(["stop", "rename"]),
    default="stop",
    show_default=True,
    help="Where two accounts have one address.",
)
@click.option(
    "--on-overflow",
    type=click.Choice(["reject", "widen"]),
    default="reject",
    show_default=True,
    help="Where a text is longer than its column.",
)
@click.option("--orphans", metavar="assign:EMAIL", help="Who gets rows of accounts that are gone.")
@click.option("--keep-share-links", is_flag=True, help="Also where the chat went on since.")
@click.option(
    "--prompts-become-public",
    is_flag=True,
    help="Take prompts along that are not for everybody; the new backend shows them to all.",
)
@click.option("--allow-unknown", is_flag=True, help="Take a source newer than owctl knows.")
@mutating("table", "json", "html", yes=True, timeout=True)
def migrate_run(
    context: Context,
    /,
    how: Run,
    resume: bool,
    **given: Any,  # noqa: ANN401  # click's: where from, and the choices
) -> int:
    """Move the data of the Python backend here.

    SOURCE is the old backend's webui.db. It is copied and only read; one transaction loads the
    copy, checks every row, and commits. Every row is migrated or reported with its reason. The
    migration's folder under migrations/ keeps the copy, the report and the rejected rows.
    """
    from owctl.commands.migrate.report import show
    from owctl.migrate.report.page import render

    journal = _resumed(context, given) if resume else _new(context, given, dry_run=how.dry_run)
    if not resume:
        examined = _examine(context, journal, only_look=how.dry_run)
        if how.dry_run:
            report = examined
        else:
            _confirm(context, journal, examined, how)
    if not how.dry_run:
        begin = _reread if resume else _begin
        report = _carry_out(context, journal, begin, how)
    if how.as_json:
        context.console.json(report)
    elif how.output_format == "html":
        context.console.result(render(report))
    else:
        show(context.console, report, context.stack.working_dir)
    return _FAILED if report["status"] == "failed" else 0


def _new(context: Context, given: dict[str, Any], *, dry_run: bool) -> "Journal":
    from owctl.migrate.folder import FOLDER_NAME, Journal

    origin = _origin(context, given)
    choices = _choices(context, given, dry_run=dry_run)
    folder = context.stack.working_dir / FOLDER_NAME
    return Journal(folder, context.stack.project, origin, choices)


def _resumed(context: Context, given: dict[str, Any]) -> "Journal":
    from owctl.migrate.folder import find_folder, read_journal

    if given["source"] or given["from_container"] or given["from_volume"]:
        raise UsageError(
            "--resume goes on with what was begun; it takes no source.",
            hint="owctl migrate --resume",
        )
    journal = read_journal(find_folder(context.stack.working_dir))
    if journal.rolled_back:
        raise UsageError(
            f"The migration {journal.id} was rolled back.", hint="owctl migrate, with its source"
        )
    return journal


def _origin(context: Context, given: dict[str, Any]) -> dict[str, str | None]:
    named = {
        "file": given["source"],
        "container": given["from_container"],
        "volume": given["from_volume"],
    }
    chosen = [(kind, name) for kind, name in named.items() if name]
    if len(chosen) != 1:
        raise UsageError(
            "owctl migrate takes one source: a file, --from-container or --from-volume.",
            hint="owctl migrate --from-container open-webui",
        )
    kind, name = chosen[0]
    uploads = given["uploads"]
    if uploads and kind != "file":
        raise UsageError(
            f"A {kind} brings its own uploads.", hint=f"owctl migrate --from-{kind} {name}"
        )
    if kind == "file":
        name = str((context.working_dir / name).resolve())
    if uploads:
        uploads = str((context.working_dir / uploads).resolve())
        if not Path(uploads).is_dir():
            raise UsageError(f"There is no folder {uploads}.", hint="--uploads DIR")
    return {"kind": kind, "name": name, "uploads": uploads}


def _choices(context: Context, given: dict[str, Any], *, dry_run: bool) -> "Choices":
    from owctl.migrate.folder import Choices

    orphans = given["orphans"]
    if orphans is not None and not orphans.startswith("assign:"):
        raise UsageError(
            f"--orphans takes assign:EMAIL, and got {orphans!r}.",
            hint="--orphans assign:admin@example.org",
        )
    return Choices(
        passwords=_passwords(context, given["passwords"], dry_run=dry_run),
        replace=given["replace"],
        orphans=orphans.removeprefix("assign:") if orphans else None,
        on_duplicate_email=given["on_duplicate_email"],
        on_overflow=given["on_overflow"],
        keep_share_links=given["keep_share_links"],
        allow_unknown=given["allow_unknown"],
        prompts_become_public=given["prompts_become_public"],
    )


def _passwords(
    context: Context, chosen: Literal["one-time", "keep"] | None, *, dry_run: bool
) -> Literal["one-time", "keep"]:
    if chosen is not None or dry_run:
        return chosen or "one-time"
    answer = context.console.confirm(
        "The new backend cannot check the old passwords. Make a one-time password for every "
        "account, listed for you in a file? (n: keep the hashes, which let nobody in)",
        default=True,
    )
    if answer is None:
        raise UsageError(
            "What shall become of the passwords has to be said: the old ones let nobody in.",
            hint="--passwords one-time, or --passwords keep",
        )
    return "one-time" if answer else "keep"


def _examine(context: Context, journal: "Journal", *, only_look: bool) -> dict[str, Any]:
    from owctl.commands.migrate.report import STEPS
    from owctl.migrate.examination import examine

    engine, stack = context.engine, context.stack
    found = _consult_doctor(context, journal.origin["kind"], only_look=only_look)
    with context.console.progress("Looking at the source") as progress:
        display = Display(context.console, progress, names=STEPS)
        document = examine(engine, stack, journal, display, only_look=only_look)
        progress.update("rehearsal", "done", f"{display.rows_done:,} rows looked at")
    return {**document, "doctor": found, "to_do": [*_first_of_all(found), *document["to_do"]]}


def _consult_doctor(
    context: Context, origin_kind: str, *, only_look: bool
) -> list[dict[str, str | None]]:
    """Look for what can go wrong before anything is touched; return what has to be put right.

    Raises OwctlError for it, unless ``only_look``: a rehearsal goes on, and reports it.
    """
    from owctl.doctor.examine import examine

    # The old container may hold a port that it gives up when it is stopped.
    ignore = ("ports",) if origin_kind == "container" else ()
    report = examine(context.settings, context.stack, context.engine, ignore=ignore)
    failed = [finding for finding in report.findings if finding.status == "failed"]
    if failed and not only_look:
        raise OwctlError(
            "The doctor has found what has to be put right first.",
            hint=failed[0].hint or "owctl doctor",
            details=[f"{finding.check}: {finding.detail}" for finding in failed],
        )
    for finding in failed:
        context.console.warn(f"{finding.check}: {finding.detail}. A migration would stop at it.")
    return [{"check": f.check, "detail": f.detail, "hint": f.hint} for f in failed]


def _first_of_all(found: list[dict[str, str | None]]) -> list[str]:
    if not found:
        return []
    checks = ", ".join(str(finding["check"]) for finding in found)
    return [f"Put right what the doctor has found ({checks}): owctl doctor."]


def _confirm(context: Context, journal: "Journal", examined: dict[str, Any], how: Run) -> None:
    totals, name = examined["totals"], journal.origin["name"]
    what = f"Load {totals['inserted']:,} rows of {name}" if examined["tables"] else f"Load {name}"
    if totals["rejected"]:
        what += f" ({totals['rejected']:,} stay behind, with their reasons)"
    if journal.origin["kind"] == "container":
        what += f", stop {name} before that"
    if journal.choices.replace:
        what += f", and REPLACE what {context.stack.project} has"
    unanswered = ConfirmationRequired(
        "A migration writes to the new database, and there is no terminal to ask on.",
        hint="the same command with --dry-run, then with --yes",
    )
    ask = how.output_format == "table"
    confirm(context, how.yes, f"{what}?", unanswered, declined="Nothing was changed.", ask=ask)


def _begin(context: Context, journal: "Journal") -> "Journal":
    from dataclasses import replace

    from owctl.engine.containers import inspect_container
    from owctl.migrate.folder import new_folder

    running = False
    if journal.origin["kind"] == "container":
        old = inspect_container(context.engine, journal.origin["name"])
        running = old is not None and old.is_running
    begun = replace(journal, folder=new_folder(context.stack.working_dir), old_was_running=running)
    begun.write()
    return begun


def _reread(_: Context, journal: "Journal") -> "Journal":
    """Return the journal as it is now: another owctl may have gone on with it meanwhile."""
    from owctl.migrate.folder import read_journal

    return read_journal(journal.folder)


def _carry_out(
    context: Context,
    journal: "Journal",
    begin: "Callable[[Context, Journal], Journal]",
    how: Run,
) -> dict[str, Any]:
    from owctl.commands.migrate.report import STEPS
    from owctl.commands.mutation import mutation
    from owctl.migrate.run import migrate

    engine, stack = context.engine, context.stack
    with (
        mutation(context, "migrate", how.lock_wait_seconds),
        context.console.progress(f"Migrating to {stack.project}") as progress,
    ):
        display = Display(context.console, progress, names=STEPS)
        # A run that is kept out by another leaves no folder, which --resume would take for its own.
        return migrate(engine, stack, begin(context, journal), display, how.timeout_seconds)
