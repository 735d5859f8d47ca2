"""What a restore prints: its plan and its outcome."""

from typing import TYPE_CHECKING, Any

from owctl.commands.changeover import journal_document
from owctl.context import Context
from owctl.figures import readable, with_age
from owctl.ui.console import json_document

if TYPE_CHECKING:
    from owctl.backup.restore.plan import RestorePlan
    from owctl.backup.restore.run import RestoreOutcome


# -- What a restore would do and what it did, as text and as JSON.


def plan_lines(plan: "RestorePlan") -> list[str]:
    """Return what a restore would do, one line a thing."""

    source = plan.source
    lines = [f"Backup {source.id}, made {with_age(source.created_at)}"]
    if plan.database is not None:
        size = readable(plan.database.content_bytes)
        rows = "" if plan.database.rows is None else f", {sum(plan.database.rows.values())} rows"
        lines.append(f"replace  database: by the backup's ({size}{rows})")
    lines += [
        f"replace  volume {target.content.key}: by the backup's files "
        f"({readable(target.content.files_bytes)})"
        for target in plan.volumes
    ]
    lines += [f"replace  {file.path}" for file in plan.config if file.path is not None]
    lines += [
        f"room     {need.what}: {readable(need.needed_bytes)} needed, "
        f"{readable(need.disk.free_bytes)} free"
        for need in plan.needs
    ]
    lines += [f"stop     {name}; started again afterwards" for name in plan.stops]
    return lines


def plan_document(project: str, plan: "RestorePlan") -> dict[str, Any]:
    """Return the plan as ``--dry-run --json`` prints it."""
    database = plan.database
    return json_document(
        project,
        dry_run=True,
        backup={"id": plan.source.id, "path": str(plan.source.paths[0])},
        parts=list(plan.parts),
        database=(
            None
            if database is None
            else {
                "content_size_bytes": database.content_bytes,
                "rows": None if database.rows is None else dict(database.rows),
            }
        ),
        volumes=[
            {
                "volume": target.content.key,
                "volume_name": target.volume.name,
                "files_bytes": target.content.files_bytes,
            }
            for target in plan.volumes
        ],
        config=[file.path for file in plan.config if file.path is not None],
        room=[
            {
                "what": need.what,
                "needed_bytes": need.needed_bytes,
                "free_bytes": need.disk.free_bytes,
            }
            for need in plan.needs
        ],
        stops=list(plan.stops),
        warnings=list(plan.warnings),
    )


def outcome_document(
    project: str, outcome: "RestoreOutcome", *, finished: bool = False
) -> dict[str, Any]:
    """Return a restore that is done as ``--json`` prints it; ``finished``: nothing is kept."""
    return json_document(
        project,
        dry_run=False,
        restore=journal_document(outcome.journal),
        rows=outcome.rows,
        files_bytes=outcome.files_bytes,
        kept_database_bytes=outcome.kept_database_bytes,
        kept_files_bytes=outcome.kept_files_bytes,
        finished=finished,
        not_made=[each.to_json() for each in outcome.not_made],
        warnings=list(outcome.warnings),
    )


def show_outcome(context: Context, outcome: "RestoreOutcome", *, finished: bool = False) -> None:
    """Say what was restored, what is kept, and the two ways on; ``finished``: nothing is kept."""
    console, journal = context.console, outcome.journal
    if console.quiet:
        console.result(journal.id)
        return
    console.result(f"Restored {journal.backup_id}:")
    for line in _restored(outcome):
        console.result(f"  {line}")
    if finished:
        return
    console.result("What was there before is kept:")
    for line in _kept(outcome):
        console.result(f"  {line}")
    console.result("All is well: owctl restore finish   Back again: owctl restore undo")


def _restored(outcome: "RestoreOutcome") -> list[str]:

    journal, lines = outcome.journal, []
    if journal.database is not None:
        rows = sum(outcome.rows.values())
        missing = len(outcome.not_made)
        lacks = f"; objects not made: {missing} (named above)" if missing else ""
        lines.append(f"database {journal.database.live}: {rows} rows, counted{lacks}")
    lines += [
        f"volume {key}: {readable(size)}, read back" for key, size in outcome.files_bytes.items()
    ]
    return lines + [f"{file.path}; owctl start applies it" for file in journal.config]


def _kept(outcome: "RestoreOutcome") -> list[str]:

    journal, lines = outcome.journal, []
    if journal.database is not None:
        size = outcome.kept_database_bytes
        room = "" if size is None else f", {readable(size)}"
        lines.append(f"database {journal.database.kept}{room}")
    for volume in journal.volumes:
        kept_bytes = outcome.kept_files_bytes.get(volume.key)
        room = "" if kept_bytes is None else f", {readable(kept_bytes)}"
        lines.append(f".owctl-restore-{journal.id} in the volume {volume.key}{room}")
    if journal.config:
        lines.append(f".owctl/restore-{journal.id}")
    if journal.safety_backup is not None:
        lines.append(f"and the backup {journal.safety_backup}")
    return lines
