"""``owctl backup``: parse, call the backup room, render."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from owctl.commands.backup_hooks import hook_options, hooks
from owctl.commands.backup_place import output_option
from owctl.commands.completers import complete_parts
from owctl.commands.options import (
    dry_run_option,
    examples,
    format_option,
    lock_wait_option,
    pass_context,
)
from owctl.commands.retention_options import prune_after_backup, retention_options
from owctl.context import Context
from owctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from owctl.backup.encryption import Encryption
    from owctl.backup.parts import Part
    from owctl.backup.request import BackupRequest, CreatedBackup
    from owctl.backup.retention import Rules

_EXAMPLES = examples(
    "owctl backup",
    "owctl backup --only db --label before-upgrade",
    "owctl backup --quiesce --keep-daily 7 --keep-weekly 4",
    "owctl backup --encrypt-to @keys.txt --output /mnt/nas/backups",
)


@click.command("create", epilog=_EXAMPLES)
@output_option
@click.option("--label", metavar="TEXT", help="A note that the backup carries.")
@click.option(
    "--only",
    metavar="PARTS",
    shell_complete=complete_parts,
    help="Some of db,files,redis,config; all by default.",
)
@click.option(
    "--quiesce", is_flag=True, help="Stop what writes to the data for the while, then resume it."
)
@click.option("--no-verify", is_flag=True, help="Do not read the backup back: it is not verified.")
@click.option(
    "--encrypt-to",
    "encrypt_to",
    multiple=True,
    metavar="RECIPIENT",
    help="Encrypt to an age or SSH public key, or to those in @FILE (repeatable).",
)
@hook_options
@retention_options
@dry_run_option
@lock_wait_option
@format_option("table", "json")
@pass_context
def backup_create(
    context: Context,
    output: str | None,
    label: str | None,
    only: str | None,
    quiesce: bool,
    no_verify: bool,
    encrypt_to: tuple[str, ...],
    on_failure: str | None,
    ping_url: str | None,
    rules: "Rules",
    dry_run: bool,
    lock_wait_seconds: float,
    output_format: str,
) -> None:
    """Make a backup; what a bare `owctl backup` does.

    With --keep-last and its kin, older backups that no rule keeps are removed once the new one was
    verified; see `owctl backup prune --help`.
    """
    parts = chosen_parts(only)
    if no_verify and rules:
        raise UsageError(
            "--no-verify and --keep-… exclude each other: only a verified backup lets older ones go.",
            hint="owctl backup prune, later, with the same rules",
        )
    from owctl.backup.request import BackupRequest
    from owctl.commands.mutation import mutation

    if dry_run:
        # Nothing happens that anybody would have to be told of.
        on_failure = ping_url = None
    with hooks(context, on_failure, ping_url):
        request = BackupRequest(
            parent=(context.working_dir / output).resolve() if output else None,
            label=label,
            parts=parts,
            quiesce=quiesce,
            verify=not no_verify,
            encryption=_encryption(encrypt_to, context.working_dir),
        )
        if dry_run:
            _foresee(context, request, output_format)
            return
        with mutation(context, "backup", lock_wait_seconds):
            created = _create(context, request)
            removed: Sequence[str] = ()
            if not created.failures:
                # While services are not what they were, nothing older goes.
                removed = prune_after_backup(context, created.path, context.stack.project, rules)
            _render(context, created, removed, output_format)
            raise_failures(created)


def _foresee(context: Context, request: "BackupRequest", output_format: str) -> None:
    from owctl.backup.foresight import foresee

    steps = foresee(context.engine, context.stack, request)
    if output_format == "json":
        context.console.json(
            {"schema": 1, "project": context.stack.project, "dry_run": True, "steps": steps}
        )
        return
    for line in steps:
        context.console.result(line)


def _create(context: Context, request: "BackupRequest") -> "CreatedBackup":
    from owctl.backup.create import create_backup
    from owctl.commands.backup_display import BackupDisplay
    from owctl.project.ownership import check_owner

    stack, engine = context.stack, context.engine
    check_owner(engine, stack.project, stack.working_dir, adopt=False)
    with context.console.progress("Backing up") as progress:
        display = BackupDisplay(context.console, progress, verify=request.verify)
        return create_backup(engine, stack, request, display)


def _encryption(values: tuple[str, ...], working_dir: Path) -> "Encryption | None":
    if not values:
        return None
    from owctl.backup.encryption import Encryption, read_recipients

    return Encryption(read_recipients(values, working_dir))


def chosen_parts(only: str | None) -> "frozenset[Part]":
    """Return the parts that ``--only`` names, all without it; raises UsageError."""
    from owctl.backup.parts import PARTS

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
    if created.downtime_seconds is not None:
        names = ", ".join(manifest.stack["quiesced"])
        console.result(f"Stood still for {created.downtime_seconds:.1f} s: {names}")
    size = f"({readable(manifest.size_bytes)}, {manifest.duration_ms / 1000:.1f} s)"
    if created.verified:
        console.result(f"Backup created and read back: {created.path} {size}")
        return
    console.result(f"Backup written, NOT verified: {created.path} {size}")
    console.result(f"Try: owctl backup verify {manifest.id}")


def raise_failures(created: "CreatedBackup") -> None:
    """Raise why services are not as they were, the backup notwithstanding."""
    if not created.failures:
        return
    first, *others = created.failures
    first.message = f"The backup {created.manifest.id} is made, but: {first.message}"
    first.details = (*first.details, *(each.message for each in others))
    raise first


def _document(created: "CreatedBackup") -> dict[str, Any]:
    manifest = created.manifest
    return {
        "schema": 1,
        "project": manifest.project,
        "id": manifest.id,
        "path": str(created.path),
        "label": manifest.label,
        "created_at": manifest.created_at,
        "duration_ms": manifest.duration_ms,
        "size_bytes": manifest.size_bytes,
        "verified": created.verified,
        "downtime_seconds": (
            None if created.downtime_seconds is None else round(created.downtime_seconds, 3)
        ),
        "quiesced": list(manifest.stack["quiesced"]),
        "encryption": dict(manifest.encryption) if manifest.encryption is not None else None,
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
