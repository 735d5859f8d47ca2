"""``owctl rollback``: back to the images of before the last upgrade."""

from typing import TYPE_CHECKING, Any

import click

from owctl.commands.options import (
    Run,
    confirm,
    examples,
    mutating,
    require_answerable,
    services_argument,
)
from owctl.commands.progress import Display
from owctl.context import Context
from owctl.ui.console import json_document

if TYPE_CHECKING:
    from owctl.upgrade.images.run import PreparedRollback

_EXAMPLES = (
    examples("owctl rollback --dry-run", "owctl rollback backend", "owctl rollback --yes")
    + """

A second `owctl rollback` goes forward again. The data stays as it is. Where the new version has
changed the database, the old one may not run with it: `owctl restore BACKUP` brings the data of before
back, too."""
)
_ASKS = "rolls back"


@click.command(epilog=_EXAMPLES)
@services_argument
@mutating("table", "json", yes=True, timeout=True)
def rollback(
    context: Context,
    services: tuple[str, ...],
    how: Run,
) -> None:
    """Go back to the images of before the last upgrade.

    Replaces containers as `owctl upgrade` does. `owctl start` then keeps to these images, until the
    next upgrade or until the compose files or .env name others.
    """
    from owctl.commands.mutation import mutation
    from owctl.compose.services import resolve_services
    from owctl.project.ownership import check_owner

    stack = context.stack
    names = [service.name for service in resolve_services(stack, services)] if services else []
    if how.dry_run:
        _foresee(context, _prepare(context, names), how.as_json)
        return
    require_answerable(how.yes, _ASKS)
    with mutation(context, "rollback", how.lock_wait_seconds):
        check_owner(context.engine, stack.project, stack.working_dir, adopt=False)
        prepared = _prepare(context, names)
        if not how.yes:
            for line in _plan_lines(prepared):
                context.console.info(line)
        _warn(context, prepared)
        changed = ", ".join(change.service for change in prepared.changes)
        if changed:
            confirm(context, how.yes, f"Roll {changed} of {stack.project} back?", _ASKS)
        _roll_back(context, prepared, how)


def _prepare(context: Context, names: list[str]) -> "PreparedRollback":
    from owctl.project.upgrade_record import read_record
    from owctl.upgrade.images.run import prepare_rollback

    record = read_record(context.stack.working_dir)
    return prepare_rollback(context.engine, context.stack, record, names)


def _roll_back(context: Context, prepared: "PreparedRollback", how: Run) -> None:
    from owctl.commands.upgrade.report import outcome_document, show_changes
    from owctl.project.upgrade_record import read_record
    from owctl.upgrade.images.run import run_rollback
    from owctl.upgrade.images.transition import Way

    stack, console = context.stack, context.console
    if not prepared.changes:
        if how.as_json:
            console.json(outcome_document(stack.project, None, None))
        console.info("The images of before run already; nothing changed.")
        return
    record = read_record(stack.working_dir)
    with console.progress(f"Rolling {stack.project} back") as progress:
        way = Way(context.engine, stack, Display(console, progress), how.timeout_seconds)
        done, rolled = run_rollback(way, record, prepared)
    if how.as_json:
        console.json(outcome_document(stack.project, done, rolled))
        return
    show_changes(context, done, rolled)
    if prepared.backup_id is not None:
        console.info(
            f"The data is as it was. With the data of before, too: owctl restore {prepared.backup_id}"
        )


def _foresee(context: Context, prepared: "PreparedRollback", as_json: bool) -> None:
    if as_json:
        context.console.json(_document(context.stack.project, prepared))
        return
    for line in _plan_lines(prepared):
        context.console.result(line)
    _warn(context, prepared)


def _plan_lines(prepared: "PreparedRollback") -> list[str]:
    from owctl.commands.upgrade.report import planned_lines

    if not prepared.changes:
        return ["Nothing to roll back: the images of before run already."]
    lines = [
        f"{change.service}: {change.before.in_words} → {change.after.in_words}"
        for change in prepared.changes
    ]
    return [*lines, *planned_lines(prepared.replacements)]


def _warn(context: Context, prepared: "PreparedRollback") -> None:
    """Say that the old version meets data of the new one, where that is so."""
    if not prepared.changes:
        return
    backup = f"owctl restore {prepared.backup_id}" if prepared.backup_id else "owctl backup list"
    if prepared.moved:
        context.console.warn(
            f"The database has moved since: {prepared.moved.in_words()}. The version of before may "
            f"not run with it; `{backup}` brings its data back"
        )
    elif prepared.moved is None:
        context.console.warn(
            "Whether the database has moved since is not known: its columns could not be compared"
        )


def _document(project: str, prepared: "PreparedRollback") -> dict[str, Any]:
    from owctl.commands.upgrade.report import image_document, replacement_document

    moved = prepared.moved
    return json_document(
        project,
        dry_run=True,
        unfinished=prepared.unfinished,
        backup=prepared.backup_id,
        database_columns=(
            None if moved is None else {"added": list(moved.added), "removed": list(moved.removed)}
        ),
        services=[
            {
                "service": change.service,
                "before": image_document(change.before),
                "after": image_document(change.after),
                "containers": [
                    replacement_document(one) for one in prepared.replacements_of(change.service)
                ],
            }
            for change in prepared.changes
        ],
    )
