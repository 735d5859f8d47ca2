"""``owctl backup``: parse, call the backup room, render."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from owctl.commands.options import format_option, lock_wait_option, pass_context
from owctl.commands.retention_options import prune_after_backup, retention_options
from owctl.context import Context
from owctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from owctl.backup.create import CreatedBackup, Part
    from owctl.backup.events import Receiver
    from owctl.backup.retention import Rules
    from owctl.ui.progress import Progress


@click.command("create")
@click.option("--output", metavar="DIR", help="The folder of the backups.  [default: backups/]")
@click.option("--label", metavar="TEXT", help="A note that the backup carries.")
@click.option("--only", metavar="PARTS", help="Some of db,files,config; all by default.")
@retention_options
@lock_wait_option
@format_option("table", "json")
@pass_context
def backup_create(
    context: Context,
    output: str | None,
    label: str | None,
    only: str | None,
    rules: "Rules",
    lock_wait_seconds: float,
    output_format: str,
) -> None:
    """Make a backup; what a bare `owctl backup` does.

    With --keep-last and its kin, older backups that no rule keeps are removed once the new one was
    verified; see `owctl backup prune --help`.
    """
    parts = _parts(only)
    from owctl.backup.create import BackupRequest, create_backup
    from owctl.project.lock import project_lock

    request = BackupRequest(
        parent=(context.working_dir / output).resolve() if output else None,
        label=label,
        parts=parts,
    )
    stack, engine = context.stack, context.engine
    with (
        project_lock(engine.engine_id, stack.project, "backup", wait_seconds=lock_wait_seconds),
        context.console.progress("Backing up") as progress,
    ):
        created = create_backup(engine, stack, request, _receiver(context, progress))
        removed = prune_after_backup(context, created.path, stack.project, rules)
    _render(context, created, removed, output_format)


def _parts(only: str | None) -> "frozenset[Part]":
    from owctl.backup.create import PARTS

    if only is None:
        return frozenset(PARTS)
    names = [name.strip() for name in only.split(",") if name.strip()]
    parts = frozenset(part for part in PARTS if part in names)
    unknown = [name for name in names if name not in PARTS]
    if unknown or not parts:
        raise UsageError(
            f"--only knows {', '.join(PARTS)}, and got {', '.join(unknown) or 'nothing'}.",
            hint="owctl backup --only db,files",
        )
    return parts


def _receiver(context: Context, progress: "Progress") -> "Receiver":
    from owctl.backup.events import BackupEvent, BackupWarning
    from owctl.backup.space import readable

    def receive(event: BackupEvent) -> None:
        if isinstance(event, BackupWarning):
            context.console.warn(event.text)
        elif event.stage == "writing":
            size = f": {readable(event.done_bytes)}" if event.done_bytes else ""
            progress.update(event.member, "working", f"writing{size}")
        elif event.stage == "verified":
            progress.update(event.member, "done", f"verified, {readable(event.done_bytes)}")
        else:
            progress.update(event.member, "working", event.stage)

    return receive


def _render(
    context: Context, created: "CreatedBackup", removed: "Sequence[str]", output_format: str
) -> None:
    from owctl.backup.space import readable
    from owctl.ui.table import Column

    console, manifest = context.console, created.manifest
    if output_format == "json":
        console.json({**_document(created), "removed": list(removed)})
        return
    if console.quiet:
        console.result(str(created.path))
        return
    rows = [(m.name, m.kind, readable(m.size_bytes), m.sha256[:12]) for m in manifest.members]
    columns = [Column("MEMBER"), Column("KIND"), Column("SIZE", right=True), Column("SHA-256")]
    console.table(columns, rows)
    console.result(
        f"Backup created and read back: {created.path} "
        f"({readable(manifest.size_bytes)}, {manifest.duration_ms / 1000:.1f} s)"
    )


def _document(created: "CreatedBackup") -> dict[str, Any]:
    manifest = created.manifest
    return {
        "schema": 1,
        "project": manifest.project,
        "id": manifest.id,
        "path": str(Path(created.path)),
        "label": manifest.label,
        "created_at": manifest.created_at,
        "duration_ms": manifest.duration_ms,
        "size_bytes": manifest.size_bytes,
        "verified": True,
        "warnings": list(manifest.warnings),
        "members": [
            {
                "name": member.name,
                "kind": member.kind,
                "size_bytes": member.size_bytes,
                "sha256": member.sha256,
            }
            for member in manifest.members
        ],
    }
