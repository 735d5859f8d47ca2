"""``owctl backup verify``: read backups back, and try a restore beside the stack."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from owctl.commands.backup.place import (
    BackupPlace,
    find_place,
    given_identities,
    identity_option,
    output_option,
)
from owctl.commands.completers import complete_backup
from owctl.commands.options import examples, format_option, pass_context
from owctl.commands.progress import Display
from owctl.context import Context
from owctl.errors import BackupInvalid, ConfigurationError, OwctlError, UsageError
from owctl.figures import readable
from owctl.progress import Receiver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from owctl.backup.catalogue import Backup
    from owctl.backup.drill import DrillReport
    from owctl.backup.encryption import Identity
    from owctl.backup.manifest import Manifest
    from owctl.backup.verify import ReadBack
    from owctl.ui.progress import Progress, RowState

_EXAMPLES = examples(
    "owctl backup verify",
    "owctl backup verify 20250131 --drill",
    "owctl backup verify --all --output /mnt/nas/backups",
)


@dataclass(slots=True)
class Outcome:
    """What is known of one backup after the look at it; ``by_hash``: not decrypted for it."""

    backup: "Backup"
    problems: tuple[str, ...]
    found: "ReadBack | None" = None
    report: "DrillReport | None" = None
    recorded: bool = False
    by_hash: bool = False


@click.command("verify", epilog=_EXAMPLES)
@click.argument("reference", required=False, metavar="[ID]", shell_complete=complete_backup)
@click.option("--all", "every", is_flag=True, help="All backups of this project.")
@click.option("--drill", is_flag=True, help="Also restore it into a PostgreSQL of its own.")
@identity_option
@output_option
@format_option("table", "json")
@pass_context
def backup_verify(
    context: Context,
    reference: str | None,
    every: bool,
    drill: bool,
    identity_files: tuple[str, ...],
    output: str | None,
    output_format: str,
) -> None:
    """Read a backup back; with --drill, restore it beside the stack.

    ID is an id, its beginning or a path; without one the newest backup is taken. Everything is read and
    compared with the manifest, and the outcome is written beside it: `owctl backup list` shows it, and
    `prune` counts only what was found sound. Exits with 7 if anything is damaged, and names all of it.

    What of a volume a restore does not bring back (devices, sockets, ...) is named, and is no damage.

    --drill starts a PostgreSQL from the stack's own image, without a network, restores the dump into
    it, counts the rows of every table, has SQLite check its databases, and removes all that again. Only
    --drill needs the engine.

    An encrypted backup is read back by hash; with --identity it is decrypted, and its contents, too.
    """
    if reference and every:
        raise UsageError("--all and an ID were given.", hint="one of the two")
    place = find_place(context, output)
    identities = given_identities(context, identity_files)
    backups = _chosen(context, place, reference, every)
    with ExitStack() as held, context.console.progress("Reading back") as progress:
        if drill:
            held.enter_context(_drill_lock(context, place))
        several = len(backups) > 1
        outcomes = [
            _look(context, each, drill, identities, progress, several=several) for each in backups
        ]
    _render(context, place, outcomes, output_format)


def _chosen(
    context: Context, place: BackupPlace, reference: str | None, every: bool
) -> "list[Backup]":
    from owctl.backup.catalogue import LATEST, find_backup, list_backups

    if reference not in (None, LATEST):
        return [find_backup(place.parent, str(reference), context.working_dir)]
    # One that is known to be damaged counts, too: it is the newest, and somebody must hear of it.
    found = [
        each
        for each in list_backups(place.parent)
        if place.project is None or each.manifest is None or each.manifest.project == place.project
    ]
    if not found:
        raise UsageError(f"There is no backup in {place.parent}.", hint="owctl backup")
    return found[::-1] if every else found[-1:]


def _drill_lock(context: Context, place: BackupPlace) -> Any:  # noqa: ANN401  # a context manager
    from owctl.project.lock import project_lock

    # Apart from the project's own lock: a drill takes its time, and changes nothing of the stack.
    name = f"{place.project or ''} (drill)"
    return project_lock(context.engine.engine_id, name, "backup verify --drill")


def _look(
    context: Context,
    backup: "Backup",
    drill: bool,
    identities: "Sequence[Identity]",
    progress: "Progress",
    *,
    several: bool,
) -> Outcome:
    from owctl.backup.publish import in_use
    from owctl.backup.verify import read_back, write_down
    from owctl.volumes.losses import told

    if backup.manifest is None:
        return Outcome(backup, (backup.problem or "its manifest cannot be read",))
    manifest = backup.manifest
    with in_use(backup.path):
        receive = Display(context.console, progress, row=backup.id if several else None)
        found = read_back(backup.path, manifest, receive, identities=identities)
        if found.extra_files:
            context.console.warn(
                f"{backup.id} has files that are no part of it: {', '.join(found.extra_files)}"
            )
        for key, losses in found.losses.items():
            context.console.warn(f"{backup.id}: {told(key, losses)}")
        problems, report = found.problems, None
        _, unwritten = write_down(backup.path, problems)
        if drill and found.is_sound:
            # Where the drill cannot be made, that it reads well is known all the same.
            report = _drill(context, backup, manifest, identities, receive)
        if report is not None:
            for each in report.not_made:
                context.console.warn(f"{backup.id}: {each.in_words()}")
            problems = report.problems
            _, unwritten = write_down(backup.path, problems, drill=True)
    if several:
        state: RowState = "failed" if problems else "done"
        progress.update(backup.id, state, "damaged" if problems else "sound")
    if unwritten is not None:
        context.console.warn(f"What was found is not kept. {unwritten}")
    by_hash = manifest.encryption is not None and not identities
    return Outcome(backup, problems, found, report, unwritten is None, by_hash)


def _drill(
    context: Context,
    backup: "Backup",
    manifest: "Manifest",
    identities: "Sequence[Identity]",
    receive: "Receiver",
) -> "DrillReport | None":
    from owctl.backup.drill import can_be_drilled, drill
    from owctl.backup.encryption import identity_needed

    if not can_be_drilled(manifest):
        context.console.warn(f"{backup.id} holds no database: there is nothing to drill.")
        return None
    if manifest.encryption is not None and not identities:
        raise identity_needed(backup.id)

    # A backup that came from elsewhere keeps its name; what is started here belongs to this project.
    try:
        project = context.stack.project
    except ConfigurationError:
        project = manifest.project
    image = _configured_image(context)
    return drill(
        context.engine,
        project,
        backup.path,
        manifest,
        receive,
        configured_image=image,
        identities=identities,
    )


def _configured_image(context: Context) -> str | None:
    from owctl.postgres.place import database_of

    try:
        stack = context.stack
    except ConfigurationError:
        return None
    place = database_of(stack)
    return place.service.image_name(stack.project) if place is not None else None


def _render(
    context: Context, place: BackupPlace, outcomes: list[Outcome], output_format: str
) -> None:
    if output_format == "json":
        context.console.document(
            place.project,
            backups=[_document(each) for each in outcomes],
        )
    else:
        for outcome in outcomes:
            if not outcome.problems:
                context.console.result(_sentence(outcome))
    damaged = [each for each in outcomes if each.problems]
    if damaged:
        raise _failure(damaged, len(outcomes))


def _sentence(outcome: Outcome) -> str:

    found, report = outcome.found, outcome.report
    assert found is not None, "only what was read is sound"
    if outcome.by_hash:
        size = outcome.backup.read_manifest().size_bytes
        return (
            f"{outcome.backup.id} is as it was stored: {readable(size)} read back by hash in "
            f"{found.seconds:.1f} s; its contents can be verified with the identity."
        )
    text = (
        f"{outcome.backup.id} is sound: {readable(found.content_bytes)} read back in "
        f"{found.seconds:.1f} s"
    )
    if report is None:
        return text + "."
    parts = []
    if report.postgres_version is not None:
        parts.append(f"{report.rows} rows in {report.tables} tables restored")
    if report.not_made:
        parts.append(f"objects not made: {len(report.not_made)} (named above)")
    if report.sqlite_databases:
        parts.append(f"SQLite databases checked: {report.sqlite_databases}")
    return f"{text}; drill: {', '.join(parts)} in {report.seconds:.1f} s."


def _failure(damaged: list[Outcome], count: int) -> OwctlError:
    if len(damaged) == 1:
        message = f"The backup {damaged[0].backup.id} is damaged."
        details: list[str] = list(damaged[0].problems)
    else:
        message = f"{len(damaged)} of {count} backups are damaged."
        details = [f"{each.backup.id}: {text}" for each in damaged for text in each.problems]
    newer = all(each.backup.manifest is None and _is_newer(each) for each in damaged)
    hint = "a newer owctl" if newer else "owctl backup, which makes a new one"
    return BackupInvalid(message, hint=hint, details=details)


def _is_newer(outcome: Outcome) -> bool:
    return "has schema" in (outcome.backup.problem or "")


def _document(outcome: Outcome) -> dict[str, Any]:
    from owctl.commands.backup.create import losses_document
    from owctl.commands.backup.list import describe

    found, report = outcome.found, outcome.report
    return {
        **{key: describe(outcome.backup)[key] for key in ("id", "path", "project", "created_at")},
        "status": "failed" if outcome.problems else "ok",
        "problems": list(outcome.problems),
        "extra_files": list(found.extra_files) if found else [],
        "not_kept": losses_document(found.losses) if found else [],
        "by_hash": outcome.by_hash,
        "content_bytes": found.content_bytes if found else None,
        "duration_ms": round(found.seconds * 1000) if found else None,
        "recorded": outcome.recorded,
        "drill": None
        if report is None
        else {
            "duration_ms": round(report.seconds * 1000),
            "image": report.image,
            "postgres_version": report.postgres_version,
            "tables": report.tables,
            "rows": report.rows,
            "sqlite_databases": report.sqlite_databases,
            "not_made": [each.to_json() for each in report.not_made],
        },
    }
