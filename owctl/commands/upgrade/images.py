"""``owctl upgrade``: new images with a backup first and a way back."""

from typing import TYPE_CHECKING

import click

from owctl.commands.options import Run, confirm, examples, mutating, services_argument
from owctl.commands.progress import Display
from owctl.commands.upgrade.postgres import (
    old_image_option,
    postgres_major_option,
    refuse_other_options,
    upgrade_postgres,
)
from owctl.context import Context

if TYPE_CHECKING:
    from owctl.commands.upgrade.report import Outcome
    from owctl.project.upgrade_record import Upgrade
    from owctl.upgrade.images.candidates import Fetching
    from owctl.upgrade.images.run import Prepared, UpgradeRun


_EXAMPLES = (
    examples(
        "owctl upgrade --dry-run",
        "owctl upgrade backend frontend",
        "owctl upgrade --no-pull    # to the images that are on this machine",
        "owctl upgrade --postgres-major --dry-run",
    )
    + """

When the new version does not become ready, or on Ctrl-C, the services go back to the images of before
by themselves."""
)
_ASKS = "upgrades without a backup"


@click.command(epilog=_EXAMPLES)
@services_argument
@click.option(
    "--pull/--no-pull",
    "pull",
    default=None,
    help="Also pull the base images of what is built here; or pull nothing.",
)
@click.option(
    "--build/--no-build",
    "build",
    default=True,
    help="Build what is built here (the default); or take the images as they are.",
)
@click.option("--no-backup", is_flag=True, help="Make no backup first; asks whether you mean it.")
@postgres_major_option
@old_image_option
@mutating("table", "json", yes=True, timeout=True)
def upgrade(
    context: Context,
    services: tuple[str, ...],
    pull: bool | None,
    build: bool,
    no_backup: bool,
    postgres_major: str | None,
    old_image: str | None,
    how: Run,
) -> None:
    """Take new images up, with a backup first and a way back.

    Pulls or builds while the old version runs, makes a verified backup, and replaces what changed,
    one container at a time: the next only when the one before answers. `owctl rollback` goes back.
    """
    from owctl.commands.mutation import mutation
    from owctl.commands.upgrade.report import outlook_document, show_outcome, show_outlook
    from owctl.compose.services import resolve_services
    from owctl.project.ownership import check_owner
    from owctl.upgrade.images.candidates import Fetching, look_ahead

    refuse_other_options(
        postgres_major,
        services=services,
        pull=pull,
        build=build,
        no_backup=no_backup,
        old_image=old_image,
    )
    if postgres_major is not None:
        upgrade_postgres(context, postgres_major, how, old_image=old_image)
        return
    stack, engine = context.stack, context.engine
    names = [service.name for service in resolve_services(stack, services)]
    fetching = Fetching(pull=pull, build=build)
    if how.dry_run:
        prepared = _prepare(context, names, fetching, named=bool(services))
        outlooks = look_ahead(engine, prepared.candidates, fetching)
        if how.as_json:
            context.console.json(outlook_document(stack.project, prepared, outlooks))
        else:
            show_outlook(context, prepared, outlooks, with_backup=not no_backup)
        return
    if no_backup:
        question = (
            f"Upgrade {stack.project} without a backup? Its data cannot be brought back then."
        )
        confirm(context, how.yes, question, _ASKS)
    with mutation(context, "upgrade", how.lock_wait_seconds):
        check_owner(engine, stack.project, stack.working_dir, adopt=False)
        prepared = _prepare(context, names, fetching, named=bool(services))
        outcome = _upgrade(
            context,
            prepared,
            fetching,
            with_backup=not no_backup,
            timeout_seconds=how.timeout_seconds,
        )
    show_outcome(context, outcome, how.output_format)


def _prepare(
    context: Context, names: list[str], fetching: "Fetching", *, named: bool
) -> "Prepared":
    from owctl.project.upgrade_record import read_record
    from owctl.upgrade.images.run import prepare_upgrade

    record = read_record(context.stack.working_dir)
    return prepare_upgrade(context.engine, context.stack, record, names, fetching, named=named)


def _upgrade(
    context: Context,
    prepared: "Prepared",
    fetching: "Fetching",
    *,
    with_backup: bool,
    timeout_seconds: float,
) -> "Outcome":
    from owctl.commands.upgrade.report import Outcome
    from owctl.upgrade.images.run import UpgradeRun
    from owctl.upgrade.images.transition import Way

    stack, engine, console = context.stack, context.engine, context.console
    run = UpgradeRun(engine, stack, prepared)
    if run.resumed is not None:
        console.info(f"Going on with the {run.resumed.kind} of {run.resumed.started_at}.")
    with console.progress(f"Fetching the images of {stack.project}") as progress:
        changes = run.fetch_images(fetching, Display(context.console, progress))
    if not changes:
        return Outcome(prepared)
    backup_id = _back_up(context, run) if with_backup else None
    with console.progress(f"Upgrading {stack.project}") as progress:
        way = Way(engine, stack, Display(console, progress), timeout_seconds)
        done, rolled = run.replace_containers(changes, backup_id, way)
    return Outcome(prepared, done, rolled)


def _back_up(context: Context, run: "UpgradeRun") -> str:
    """Return the id of a verified backup of before; where none can be had, nothing is changed."""
    from owctl.backup.create.run import create_safety_backup
    from owctl.backup.manifest import PARTS
    from owctl.commands.backup.create import raise_failures
    from owctl.postgres.place import database_of

    if (earlier := _backup_of(context, run.resumed)) is not None:
        context.console.info(f"The backup of before was made already: {earlier}.")
        return earlier
    stack, console = context.stack, context.console
    # One of an inactive profile counts: the backup says then what is to be done.
    has_database = database_of(stack.with_inactive()) is not None
    parts = frozenset(part for part in PARTS if part != "db" or has_database)
    try:
        with console.progress(f"Backing up {stack.project}") as progress:
            display = Display(console, progress)
            created = create_safety_backup(
                context.engine, stack, "an upgrade", display, parts=parts
            )
            raise_failures(created)
    except BaseException as error:
        run.abandon(error)
        raise
    console.info(f"Backup created and read back: {created.path}")
    return created.manifest.id


def _backup_of(context: Context, resumed: "Upgrade | None") -> str | None:
    """Return the backup that was made before an upgrade which was interrupted, if it is there."""
    from owctl.backup.catalogue import FOLDER_NAME

    backup_id = resumed.backup_id if resumed is not None else None
    if backup_id is None:
        return None
    return backup_id if (context.stack.working_dir / FOLDER_NAME / backup_id).is_dir() else None
