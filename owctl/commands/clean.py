"""``owctl clean``: list what is there of the project, ask, and remove it."""

from typing import TYPE_CHECKING

import click

from owctl.commands.options import (
    dry_run_option,
    examples,
    format_option,
    lock_wait_option,
    pass_context,
)
from owctl.context import Context
from owctl.errors import ConfirmationRequired, OwctlError, UsageError

if TYPE_CHECKING:
    from owctl.commands.clean_report import Outcome
    from owctl.lifecycle.clean import PreparedClean

_EXAMPLES = examples(
    "owctl clean --dry-run",
    "owctl clean --backup",
    "owctl clean --keep-volumes --yes",
)


@click.command(epilog=_EXAMPLES)
@click.option("--keep-volumes", is_flag=True, help="Keep the data: all volumes stay.")
@click.option("--images", is_flag=True, help="Also images that only this project uses.")
@click.option(
    "--backup", "with_backup", is_flag=True, help="Make a backup first; stop if it fails."
)
@click.option("--adopt", is_flag=True, help="Also a project that another folder started.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for the project's name.")
@dry_run_option
@lock_wait_option
@format_option("table", "json")
@pass_context
def clean(
    context: Context,
    keep_volumes: bool,
    images: bool,
    with_backup: bool,
    adopt: bool,
    yes: bool,
    dry_run: bool,
    lock_wait_seconds: float,
    output_format: str,
) -> None:
    """Remove the containers, the networks and the data.

    Lists everything of this project with its size, asks for the project's name, and removes it:
    containers (also orphans and helpers), networks, volumes. What other projects use, what is
    external, paths of the host, backups/ and .env stay.
    """
    from owctl.commands.clean_report import account, show
    from owctl.commands.clean_restore import unfinished_restore
    from owctl.lifecycle.clean import prepare_clean
    from owctl.lifecycle.clean_listing import CleanOptions

    stack, engine = context.stack, context.engine
    options = CleanOptions(volumes=not keep_volumes, images=images)
    _check_owner(context, adopt=adopt)
    shown = prepare_clean(engine, stack, options)
    as_json = output_format == "json"
    if not as_json:
        show(context, shown)
    outcome = None
    if not dry_run and (shown.listing.items or unfinished_restore(context)):
        asking = not (yes or as_json)
        if not yes:
            with_backup = _confirm(context, shown, asking=asking, with_backup=with_backup)
        outcome = _clean(context, shown, lock_wait_seconds, adopt=adopt, with_backup=with_backup)
    account(context, shown, outcome, as_json=as_json, dry_run=dry_run)


def _check_owner(context: Context, *, adopt: bool) -> tuple[str, ...]:
    from owctl.project.ownership import ForeignProject, check_owner

    stack = context.stack
    try:
        return check_owner(context.engine, stack.project, stack.working_dir, adopt=adopt)
    except ForeignProject as error:
        error.hint = (
            "another name: owctl -p OTHER_NAME …; or owctl clean --adopt, if what the other "
            "folder started is to be removed"
        )
        raise


def _confirm(context: Context, shown: "PreparedClean", *, asking: bool, with_backup: bool) -> bool:
    """Return whether to make a backup first, once the user agreed; raises UsageError otherwise."""
    from owctl.commands.clean_backup import why_backup

    project, console = context.stack.project, context.console
    if asking and not with_backup and (why := why_backup(context, shown)):
        console.info(why)
        with_backup = bool(console.confirm("Make a backup first?", default=True))
    question = f"Type the project's name, {project}, to remove all that: "
    answer = console.ask(question) if asking else None
    if answer is None:
        raise ConfirmationRequired(
            f"{project} was not cleaned: there is no --yes, and no terminal to ask on.",
            hint="owctl clean --dry-run, which shows what would go; owctl clean --yes removes it",
        )
    if answer != project:
        raise UsageError(
            f"That is not the project's name, {project}: nothing was removed.",
            hint="owctl clean again, or --dry-run, which only shows the list",
        )
    return with_backup


def _clean(
    context: Context,
    shown: "PreparedClean",
    lock_wait_seconds: float,
    *,
    adopt: bool,
    with_backup: bool,
) -> "Outcome":
    from owctl.commands.clean_backup import make_backup
    from owctl.commands.clean_report import Outcome
    from owctl.commands.clean_restore import forget_restore, forget_upgrades
    from owctl.commands.mutation import StepDisplay, mutation
    from owctl.lifecycle.clean import prepare_clean, run_clean
    from owctl.project.ownership import remember_adoption

    stack, engine = context.stack, context.engine
    with mutation(context, "clean", lock_wait_seconds):
        if owners := _check_owner(context, adopt=adopt):
            remember_adoption(stack.working_dir, stack.project, owners)
        backup = make_backup(context) if with_backup else None
        prepared = prepare_clean(engine, stack, shown.options)
        if more := prepared.more_than(shown):
            raise OwctlError(
                f"Nothing was removed: {', '.join(more)} came into being since the list was made.",
                hint="the same command again, with the list as it is now",
            )
        with context.console.progress(f"Cleaning {stack.project}") as progress:
            cleaned = run_clean(engine, stack, prepared, StepDisplay(progress, prepared.plan))
        forget_restore(context, prepared)
        forget_upgrades(context, prepared)
    return Outcome(cleaned, backup)
