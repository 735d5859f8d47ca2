"""``owctl clean``: what would go, a backup first, and only then the removal."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from owctl.commands.options import Run, examples, mutating
from owctl.commands.progress import Display
from owctl.context import Context
from owctl.errors import ConfirmationRequired, OwctlError, UsageError
from owctl.figures import readable, readable_age
from owctl.ui.console import json_document

if TYPE_CHECKING:
    from owctl.lifecycle.clean import Cleaned, PreparedClean
    from owctl.lifecycle.clean_listing import Item, Kept


# -- What is on record of a project that is cleaned: what a restore or an upgrade keeps, upgrades.


def unfinished_restore(context: Context) -> bool:
    """Return whether a restore or an upgrade was begun, and neither finished nor undone."""
    from owctl.changeover.journal import journal_paths

    return bool(journal_paths(context.stack.working_dir))


def forget_restore(context: Context, prepared: "PreparedClean") -> None:
    """Remove the journal of what kept data that is gone; it stays while a volume does.

    Raises OwctlError where it cannot be removed.
    """
    from owctl.changeover.journal import journal_paths

    if not takes_restore_along(prepared):
        return
    for path in journal_paths(context.stack.working_dir):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OwctlError(
                f"The containers and volumes are gone, and the journal of what was not finished "
                f"is left: {path}: {error.strerror}.",
                hint=f"rm {path}",
            ) from error


def takes_restore_along(prepared: "PreparedClean") -> bool:
    """Return whether no data of the project is left after the clean."""
    stays = [kept for kept in prepared.listing.kept if kept.kind == "volume" and kept.is_ours]
    return prepared.options.volumes and not stays


def forget_upgrades(context: Context, prepared: "PreparedClean") -> None:
    """Remove the record of upgrades: with the containers and the data, what it is about is gone.

    Raises OwctlError where it cannot be removed.
    """
    from owctl.project.upgrade_record import path_of

    if not takes_restore_along(prepared):
        return
    path = path_of(context.stack.working_dir)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OwctlError(
            f"The containers and volumes are gone, and the record of upgrades is left: {path}: "
            f"{error.strerror}.",
            hint=f"rm {path}",
        ) from error


# -- What `owctl clean` shows: the list before, the account afterwards.


_KINDS = {"container": "containers", "network": "networks", "volume": "volumes", "image": "images"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a clean did; ``backup`` is the one that it made first."""

    cleaned: "Cleaned"
    backup: Path | None


def show(context: Context, prepared: "PreparedClean") -> None:
    """Print what goes, with sizes, and what stays."""

    from owctl.ui.table import Cell, Column

    console, listing = context.console, prepared.listing
    if console.quiet:
        return
    rows: list[list[str | Cell]] = [
        [Cell("remove", "red"), item.kind, item.name, _size(item), item.note]
        for item in listing.items
    ]
    rows += [["keep", kept.kind, kept.name, "", kept.why] for kept in listing.kept]
    columns = [
        Column("WHAT"),
        Column("KIND"),
        Column("NAME", narrow="fold"),
        Column("SIZE", right=True),
        Column("NOTE", narrow="fold"),
    ]
    if rows:
        console.table(columns, rows)
    if unfinished_restore(context):
        console.result(
            "A restore is not finished: what it kept for `owctl restore undo` goes, too."
            if takes_restore_along(prepared)
            else "A restore is not finished: what it kept stays in the volumes."
        )


def account(
    context: Context,
    shown: "PreparedClean",
    outcome: Outcome | None,
    *,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Print what was removed, or would be, and what stays of the project's folder."""
    if as_json:
        context.console.json(_document(context, shown, outcome, dry_run=dry_run))
        return
    console, project = context.console, context.stack.project
    items = shown.listing.items if outcome is None else outcome.cleaned.removed
    for kept in outcome.cleaned.kept if outcome else ():
        console.warn(f"{kept.kind} {kept.name} stays: {kept.why}")
    if outcome is not None:
        console.result(f"Removed of {project}: {_sum(items) or 'nothing'}.")
    elif items:
        console.result(f"Would remove of {project}: {_sum(items)}. Nothing was removed.")
    else:
        console.result(f"There is nothing of {project} to remove.")
    if stays := _files(context):
        console.info(f"These stay: {', '.join(stays)}.")


def _files(context: Context) -> list[str]:
    from owctl.backup.catalogue import FOLDER_NAME, list_backups

    folder = context.stack.working_dir
    names = [path.name for path in context.stack.environment_files]
    names += [path.name for path in context.stack.config_files]
    count = len(list_backups(folder / FOLDER_NAME))
    return [*names, f"{FOLDER_NAME}/ ({count} backup{'s' * (count > 1)})"] if count else names


def _sum(items: "Iterable[Item]") -> str:
    counts: dict[str, int] = {}
    size_bytes = 0
    for item in items:
        counts[item.kind] = counts.get(item.kind, 0) + 1
        size_bytes += item.size_bytes or 0
    parts = [f"{n} {kind if n == 1 else _KINDS[kind]}" for kind, n in counts.items()]

    return ", ".join(parts) + (f" ({readable(size_bytes)})" if size_bytes else "")


def _size(item: "Item") -> str:

    if item.size_bytes is None:
        return "unknown" if item.kind in ("volume", "image") else ""
    return readable(item.size_bytes)


def _document(
    context: Context, shown: "PreparedClean", outcome: Outcome | None, *, dry_run: bool
) -> dict[str, Any]:
    items = shown.listing.items if outcome is None else outcome.cleaned.removed
    kept = [*shown.listing.kept, *(outcome.cleaned.kept if outcome else ())]
    return json_document(
        context.stack.project,
        dry_run=dry_run,
        **{plural: [_item(i) for i in items if i.kind == kind] for kind, plural in _KINDS.items()},
        kept=[_kept(each) for each in kept],
        backup=str(outcome.backup) if outcome and outcome.backup else None,
    )


def _item(item: "Item") -> dict[str, Any]:
    size = {} if item.kind in ("container", "network") else {"size_bytes": item.size_bytes}
    return {"name": item.name, "id": item.id, **size, "note": item.note}


def _kept(kept: "Kept") -> dict[str, Any]:
    return {"kind": kept.kind, "name": kept.name, "why": kept.why}


# -- The backup that `owctl clean` offers or makes before it removes data.


def why_backup(context: Context, shown: "PreparedClean") -> str | None:
    """Return why a backup is offered; None where no data goes, or a backup has all of it."""
    from datetime import UTC, datetime

    from owctl.backup.catalogue import FOLDER_NAME
    from owctl.backup.freshness import DATA_PARTS, last_start, newest_verified
    from owctl.postgres.place import Elsewhere, find_place

    if not shown.listing.of("volume"):
        return None
    stack = context.stack
    parts = DATA_PARTS - ({"db"} if isinstance(find_place(stack), Elsewhere) else set())
    newest = newest_verified(stack.working_dir / FOLDER_NAME, stack.project, parts)
    if newest is None or newest.backup.is_future:
        future = f" (the date of {newest.backup.id} is in the future)" if newest else ""
        return f"There is no verified backup of this data{future}."
    if missing := _missing(newest.backup.lacks):
        return f"The newest verified backup, {newest.backup.id}, lacks {missing}."
    started_at = last_start(context.engine, stack.project, stack.working_dir)
    if started_at is not None and newest.created_at > started_at:
        return None
    age = readable_age(newest.age_seconds(datetime.now(UTC)))
    since = "and the stack was started since" if started_at else "and what ran since is not known"
    return f"The newest verified backup, {newest.backup.id}, is {age} old, {since}."


def make_backup(context: Context) -> Path:
    """Make a backup and return its folder; the caller holds the project's lock.

    Raises OwctlError that says that nothing was removed.
    """
    from owctl.backup.create.run import create_safety_backup
    from owctl.backup.inventory import take_inventory

    stack, console = context.stack, context.console
    others = [each for each in take_inventory(context.engine, stack).volumes if each.postgres]
    # Another PostgreSQL's data can be copied while that stands still, as it will for good.
    try:
        with console.progress(f"Backing up {stack.project}") as progress:
            display = Display(console, progress)
            created = create_safety_backup(
                context.engine, stack, "a clean", display, quiesce=bool(others)
            )
    except OwctlError as error:
        error.details = (*error.details, "Nothing was removed: there is no backup.")
        raise
    for failure in created.failures:
        console.warn(failure.message)
    lacks = created.manifest.stack["lacks"]
    if missing := _missing(lacks):
        raise OwctlError(
            f"Nothing was removed: the backup {created.manifest.id} lacks {missing}, which would go.",
            hint="a dump of that elsewhere, then owctl clean without --backup",
            details=[each["why"] for each in lacks],
        )
    console.info(f"Backup created and read back: {created.path}")
    return created.path


def _missing(lacks: "Iterable[Mapping[str, str]]") -> str:
    """Return what a backup lacks of what is on this engine; what is elsewhere is not removed."""
    return ", ".join(each["name"] for each in lacks if each["kind"] != "external")


# -- ``owctl clean``: list what is there of the project, ask, and remove it.


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
@mutating("table", "json")
def clean(
    context: Context,
    keep_volumes: bool,
    images: bool,
    with_backup: bool,
    adopt: bool,
    how: Run,
) -> None:
    """Remove the containers, the networks and the data.

    Lists everything of this project with its size, asks for the project's name, and removes it:
    containers (also orphans and helpers), networks, volumes. What other projects use, what is
    external, paths of the host, backups/ and .env stay.
    """

    from owctl.lifecycle.clean import prepare_clean
    from owctl.lifecycle.clean_listing import CleanOptions

    stack, engine = context.stack, context.engine
    options = CleanOptions(volumes=not keep_volumes, images=images)
    _check_owner(context, adopt=adopt)
    shown = prepare_clean(engine, stack, options)
    if not how.as_json:
        show(context, shown)
    outcome = None
    if not how.dry_run and (shown.listing.items or unfinished_restore(context)):
        if not how.yes:
            asking = not how.as_json
            with_backup = _confirm(context, shown, asking=asking, with_backup=with_backup)
        outcome = _clean(
            context, shown, how.lock_wait_seconds, adopt=adopt, with_backup=with_backup
        )
    account(context, shown, outcome, as_json=how.as_json, dry_run=how.dry_run)


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

    from owctl.commands.mutation import mutation
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
            cleaned = run_clean(engine, stack, prepared, Display(context.console, progress))
        forget_restore(context, prepared)
        forget_upgrades(context, prepared)
    return Outcome(cleaned, backup)
