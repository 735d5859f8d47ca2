"""``owctl backup push`` and ``owctl backup pull``."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from owctl.commands.backup.place import BackupPlace, find_place, output_option
from owctl.commands.completers import complete_backup
from owctl.commands.options import dry_run_option, examples, format_option, pass_context
from owctl.commands.progress import Display
from owctl.context import Context
from owctl.errors import UsageError
from owctl.figures import age, readable

if TYPE_CHECKING:
    from owctl.backup.catalogue import Backup
    from owctl.backup.remote.place import RemoteBackup
    from owctl.backup.remote.pull import Pulled
    from owctl.backup.remote.push import Pushed
    from owctl.backup.remote.store import Address, Store


# -- What push and pull share


remote_argument = click.argument("remote", metavar="REMOTE")
host_key_option = click.option(
    "--accept-host-key",
    "host_key",
    metavar="SHA256:…",
    help="The fingerprint of an SSH server that known_hosts does not know.",
)


def parsed(context: Context, remote: str) -> "Address":
    """Return what REMOTE names; call it before the command line is written into the history."""
    from owctl.backup.remote.store import parse_address

    return parse_address(remote, context.working_dir)


@contextmanager
def opened(address: "Address", host_key: str | None) -> "Iterator[Store]":
    """Yield the place at an address."""
    from owctl.backup.remote.place import open_store
    from owctl.interrupts import hear_at_once

    hear_at_once()
    with open_store(address, host_key=host_key) as store:
        yield store


# -- owctl backup pull


_PULL_EXAMPLES = examples(
    "owctl backup pull s3://my-backups/webui",
    "owctl backup pull s3://my-backups/webui latest",
    "owctl backup pull sftp://me@nas/backups 20250131 --output restored",
)


@click.command("pull", epilog=_PULL_EXAMPLES)
@remote_argument
@click.argument("reference", metavar="[ID]", required=False)
@output_option
@host_key_option
@format_option("table", "json")
@pass_context
def backup_pull(
    context: Context,
    remote: str,
    reference: str | None,
    output: str | None,
    host_key: str | None,
    output_format: str,
) -> None:
    """Fetch a backup from another machine, or list what is there.

    REMOTE is as for `owctl backup push`. ID is an id, its beginning or `latest`; without one the
    backups there are listed. What arrived is verified as a whole before it becomes a backup here; a
    pull that was interrupted goes on where it stopped.
    """
    address, place = parsed(context, remote), find_place(context, output)
    if reference is None:
        from owctl.backup.remote.place import list_remote

        with opened(address, host_key) as store:
            found = list_remote(store)
        _render_list(context, place, remote, found, output_format)
        return
    from owctl.backup.remote.place import find_remote
    from owctl.backup.remote.pull import pull_backup
    from owctl.commands.mutation import recorded

    with (
        recorded(context, "backup pull"),
        opened(address, host_key) as store,
        context.console.progress("Pulling") as progress,
    ):
        backup_id = find_remote(store, reference, place.project)
        pulled = pull_backup(store, backup_id, place.parent, Display(context.console, progress))
    _render_pull(context, remote, pulled, output_format)


def _render_pull(context: Context, remote: str, pulled: "Pulled", output_format: str) -> None:

    console, manifest = context.console, pulled.manifest
    if output_format == "json":
        console.document(
            manifest.project,
            remote=remote,
            id=pulled.path.name,
            path=str(pulled.path),
            created_at=manifest.created_at,
            size_bytes=manifest.size_bytes,
            fetched_parts=pulled.fetched_parts,
            fetched_bytes=pulled.fetched_bytes,
            was_here=pulled.was_here,
        )
    elif console.quiet:
        console.result(str(pulled.path))
    elif pulled.was_here:
        console.result(f"It is here already: {pulled.path}")
    else:
        console.result(f"Pulled and read back: {pulled.path} ({readable(manifest.size_bytes)})")
        if manifest.encryption is not None:
            console.result("Read back by hash; its contents can be verified with the identity.")


def _render_list(
    context: Context,
    place: BackupPlace,
    remote: str,
    found: "list[RemoteBackup]",
    output_format: str,
) -> None:
    from owctl.ui.table import Column

    console = context.console
    if output_format == "json":
        console.document(
            place.project,
            remote=remote,
            backups=[_entry(each) for each in found],
        )
        return
    if not found:
        console.info(f"There are no backups at {remote}; `owctl backup push` brings one there.")
        return
    columns = [
        Column("ID"),
        Column("AGE", right=True),
        Column("SIZE", right=True),
        Column("PROJECT", narrow="crop"),
        Column("LABEL", narrow="crop"),
    ]
    console.table(columns, [_row(each) for each in reversed(found)])
    for each in found:
        if each.problem is not None:
            console.result(f"{each.id} is broken: {each.problem}")


def _row(each: "RemoteBackup") -> list[str]:

    manifest = each.manifest
    if manifest is None:
        return [each.id, "?", "?", "?", ""]
    size = readable(manifest.size_bytes)
    return [each.id, age(manifest.created_at), size, manifest.project, manifest.label or ""]


def _entry(each: "RemoteBackup") -> dict[str, object]:
    manifest = each.manifest
    return {
        "id": each.id,
        "problem": each.problem,
        "project": manifest.project if manifest else None,
        "label": manifest.label if manifest else None,
        "created_at": manifest.created_at if manifest else None,
        "size_bytes": manifest.size_bytes if manifest else None,
        "encrypted": manifest is not None and manifest.encryption is not None,
    }


# -- owctl backup push


_PUSH_EXAMPLES = examples(
    "owctl backup push s3://my-backups/webui",
    "owctl backup push sftp://me@nas.example.org/srv/backups --all",
    "owctl backup push /mnt/usb-disk 20250131 --read-back",
)


@click.command("push", epilog=_PUSH_EXAMPLES)
@remote_argument
@click.argument("reference", metavar="[ID]", required=False, shell_complete=complete_backup)
@click.option("--all", "every", is_flag=True, help="Every sound backup of this project.")
@click.option("--read-back", is_flag=True, help="Check what is there already, and mend it.")
@output_option
@host_key_option
@dry_run_option
@format_option("table", "json")
@pass_context
def backup_push(
    context: Context,
    remote: str,
    reference: str | None,
    every: bool,
    read_back: bool,
    output: str | None,
    host_key: str | None,
    dry_run: bool,
    output_format: str,
) -> None:
    """Copy a backup to another machine, in parts that resume.

    REMOTE is s3://bucket/prefix, sftp://user@host:port/path or a folder. ID is an id, its beginning or a
    path; without one the newest backup is taken. Every part is read back, or compared with the
    server's own SHA-256; the manifest is sent last. What is there and sound is not sent again.

    Credentials come from AWS_* and ~/.aws, or from SSH keys and the agent, never from the command line.
    """
    from owctl.backup.publish import in_use
    from owctl.backup.remote.push import push_backup
    from owctl.commands.mutation import recorded

    address, place = parsed(context, remote), find_place(context, output)
    backups = _chosen(context, place, reference, every)
    pushed: list[Pushed] = []
    with (
        recorded(context, "backup push"),
        opened(address, host_key) as store,
        context.console.progress("Looking" if dry_run else "Pushing") as progress,
    ):
        for backup in backups:
            receive = Display(context.console, progress, prefix=f"{backup.id}/" if every else "")
            with in_use(backup.path):
                pushed.append(
                    push_backup(backup, store, receive, read_back=read_back, dry_run=dry_run)
                )
    _render_push(context, place, remote, pushed, dry_run, output_format)


def _chosen(
    context: Context, place: BackupPlace, reference: str | None, every: bool
) -> "list[Backup]":
    from owctl.backup.catalogue import LATEST, find_backup, list_backups

    if reference is not None and every:
        raise UsageError("--all and an ID were given.", hint="one of the two")
    if reference not in (None, LATEST):
        return [find_backup(place.parent, str(reference), context.working_dir)]
    sound: list[Backup] = []
    for each in list_backups(place.parent):
        if each.broken_because is not None:
            context.console.warn(f"{each.id} is broken, and is left out.")
        elif each.manifest is not None and place.project in (None, each.manifest.project):
            sound.append(each)
    if not sound:
        raise UsageError(f"There is no sound backup in {place.parent}.", hint="owctl backup")
    return sound if every else sound[-1:]


def _render_push(
    context: Context,
    place: BackupPlace,
    remote: str,
    pushed: "list[Pushed]",
    dry_run: bool,
    output_format: str,
) -> None:

    if output_format == "json":
        context.console.document(
            place.project,
            remote=remote,
            dry_run=dry_run,
            backups=[
                {
                    "id": each.id,
                    "size_bytes": each.size_bytes,
                    "parts": each.parts,
                    "sent_parts": each.sent_parts,
                    "sent_bytes": each.sent_bytes,
                }
                for each in pushed
            ],
        )
        return
    for each in pushed:
        sent = f"{each.sent_parts} of {each.parts} parts ({readable(each.sent_bytes)})"
        if dry_run:
            context.console.result(f"{each.id}: would send {sent}")
        elif each.sent_parts:
            context.console.result(f"{each.id} is whole there: sent {sent}, each verified")
        else:
            context.console.result(f"{each.id} is whole there: nothing to send")
