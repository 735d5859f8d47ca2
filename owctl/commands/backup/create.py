"""``owctl backup``: makes a backup, and tells those who are to hear of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from owctl.commands.backup.place import output_option
from owctl.commands.backup.prune import prune_after_backup, retention_options
from owctl.commands.completers import complete_parts
from owctl.commands.options import Run, examples, mutating
from owctl.commands.progress import Display
from owctl.context import Context
from owctl.errors import Interrupted, OwctlError, UsageError
from owctl.figures import readable
from owctl.ui.console import json_document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from owctl.backup.create.capture import BackupRequest, CreatedBackup
    from owctl.backup.encryption import Encryption
    from owctl.backup.manifest import Part
    from owctl.backup.retention import Rules
    from owctl.volumes.losses import Loss


# -- --on-failure and --ping


def hook_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add both options; the command gets ``on_failure`` and ``ping_url``, each a text or None."""
    function = click.option(
        "--ping",
        "ping_url",
        metavar="URL",
        help="Ask this address after success, URL/fail after a failure.",
    )(function)
    return click.option(
        "--on-failure",
        metavar="COMMAND",
        help="Run this when the backup fails or is interrupted (OWCTL_ERROR says why).",
    )(function)


@contextmanager
def hooks(context: Context, on_failure: str | None, ping_url: str | None) -> Iterator[None]:
    """Tell of the outcome of a block. What fails in telling is a warning, and changes nothing.

    Raises UsageError for an address that cannot be asked.
    """
    if ping_url is not None:
        from owctl.backup.notify import check_address

        check_address(ping_url)
    try:
        yield
    except BaseException as error:
        if on_failure is not None or ping_url is not None:
            _tell(context, _described(context, error), on_failure, ping_url)
        raise
    if ping_url is not None:
        _ping(context, ping_url, None)


def _described(context: Context, error: BaseException) -> tuple[str, int]:
    """Return what failed, for people, and the exit code that owctl will end with."""
    if isinstance(error, OwctlError):
        lines = [error.message, *error.details]
        if error.hint:
            lines.append(f"Try: {error.hint}")
        return context.console.mask("\n".join(lines)), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted.", Interrupted.exit_code
    return context.console.mask(f"{type(error).__name__}: {error}"), 1


def _tell(
    context: Context, outcome: tuple[str, int], on_failure: str | None, ping_url: str | None
) -> None:
    message, exit_code = outcome
    if ping_url is not None:
        _ping(context, ping_url, message)
    if on_failure is not None:
        from owctl.backup.notify import run_command

        environ = {
            **context.environ,
            "OWCTL_PROJECT": _project(context),
            "OWCTL_ERROR": message,
            "OWCTL_EXIT_CODE": str(exit_code),
        }
        if problem := run_command(on_failure, environ):
            context.console.warn(f"The command of --on-failure failed: {problem}.")


def _ping(context: Context, url: str, failure: str | None) -> None:
    from owctl.backup.notify import ping

    if problem := ping(url, failure):
        context.console.warn(f"The address of --ping was not told: {problem}.")


def _project(context: Context) -> str:
    """Return the project's name; that of its folder where the files cannot be read."""
    try:
        return context.stack.project
    except OwctlError:
        pass
    try:
        return context.settings.project_name or context.settings.project_dir.name
    except OwctlError:
        return context.working_dir.name


# -- owctl backup


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
@mutating("table", "json")
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
    how: Run,
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
    from owctl.backup.create.capture import BackupRequest
    from owctl.commands.mutation import mutation

    if how.dry_run:
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
        if how.dry_run:
            _foresee(context, request, how.output_format)
            return
        with mutation(context, "backup", how.lock_wait_seconds):
            created = _create(context, request)
            removed: Sequence[str] = ()
            if not created.failures:
                # While services are not what they were, nothing older goes.
                removed = prune_after_backup(context, created.path, context.stack.project, rules)
            _render(context, created, removed, how.output_format)
            raise_failures(created)


def _foresee(context: Context, request: "BackupRequest", output_format: str) -> None:
    from owctl.backup.create.run import foresee

    steps = foresee(context.engine, context.stack, request)
    if output_format == "json":
        context.console.document(context.stack.project, dry_run=True, steps=steps)
        return
    for line in steps:
        context.console.result(line)


def _create(context: Context, request: "BackupRequest") -> "CreatedBackup":
    from owctl.backup.create.run import create_backup
    from owctl.project.ownership import check_owner

    stack, engine = context.stack, context.engine
    check_owner(engine, stack.project, stack.working_dir, adopt=False)
    with context.console.progress("Backing up") as progress:
        display = Display(context.console, progress)
        return create_backup(engine, stack, request, display)


def _encryption(values: tuple[str, ...], working_dir: Path) -> "Encryption | None":
    if not values:
        return None
    from owctl.backup.encryption import Encryption, read_recipients

    return Encryption(read_recipients(values, working_dir))


def chosen_parts(
    only: str | None, example: str = "owctl backup --only db,files"
) -> "frozenset[Part]":
    """Return the parts that ``--only`` names, all without it; raises UsageError with an example."""
    from owctl.backup.manifest import PARTS

    if only is None:
        return frozenset(PARTS)
    names = [name.strip() for name in only.split(",") if name.strip()]
    parts = frozenset(part for part in PARTS if part in names)
    unknown = [name for name in names if name not in PARTS]
    if unknown or not parts:
        raise UsageError(
            f"--only knows {', '.join(PARTS)}, and got {', '.join(unknown) or 'nothing'}.",
            hint=example,
        )
    return parts


def _render(
    context: Context, created: "CreatedBackup", removed: "Sequence[str]", output_format: str
) -> None:
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


def losses_document(by_volume: "Mapping[str, Sequence[Loss]]") -> list[dict[str, str]]:
    """Return what of volumes a restore does not bring back, as ``--json`` prints it."""
    return [
        {"volume": key, "path": loss.path, "what": loss.what}
        for key, losses in by_volume.items()
        for loss in losses
    ]


def _document(created: "CreatedBackup") -> dict[str, Any]:
    from owctl.backup.verify import losses_by_volume

    manifest = created.manifest
    return json_document(
        manifest.project,
        id=manifest.id,
        path=str(created.path),
        label=manifest.label,
        created_at=manifest.created_at,
        duration_ms=manifest.duration_ms,
        size_bytes=manifest.size_bytes,
        verified=created.verified,
        downtime_seconds=None
        if created.downtime_seconds is None
        else round(created.downtime_seconds, 3),
        quiesced=list(manifest.stack["quiesced"]),
        encryption=dict(manifest.encryption) if manifest.encryption is not None else None,
        warnings=list(manifest.warnings),
        lacks=list(manifest.stack["lacks"]),
        not_kept=losses_document(losses_by_volume(manifest)),
        members=[
            {
                "name": member.name,
                "kind": member.kind,
                "size_bytes": member.size_bytes,
                "sha256": member.sha256,
            }
            for member in manifest.members
        ],
    )
