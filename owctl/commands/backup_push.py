"""``owctl backup push``: parse, call the backup room, render."""

from typing import TYPE_CHECKING

import click

from owctl.commands.backup_place import BackupPlace, find_place, output_option
from owctl.commands.completers import complete_backup
from owctl.commands.options import dry_run_option, examples, format_option, pass_context
from owctl.commands.remote_options import (
    host_key_option,
    opened,
    parsed,
    remote_argument,
    transfer_receiver,
)
from owctl.context import Context
from owctl.errors import UsageError

if TYPE_CHECKING:
    from owctl.backup.catalogue import Backup
    from owctl.backup.remote.push import Pushed

_EXAMPLES = examples(
    "owctl backup push s3://my-backups/webui",
    "owctl backup push sftp://me@nas.example.org/srv/backups --all",
    "owctl backup push /mnt/usb-disk 20250131 --read-back",
)


@click.command("push", epilog=_EXAMPLES)
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
            receive = transfer_receiver(progress, f"{backup.id}/" if every else "")
            with in_use(backup.path):
                pushed.append(
                    push_backup(backup, store, receive, read_back=read_back, dry_run=dry_run)
                )
    _render(context, place, remote, pushed, dry_run, output_format)


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


def _render(
    context: Context,
    place: BackupPlace,
    remote: str,
    pushed: "list[Pushed]",
    dry_run: bool,
    output_format: str,
) -> None:
    from owctl.backup.space import readable

    if output_format == "json":
        context.console.json(
            {
                "schema": 1,
                "project": place.project,
                "remote": remote,
                "dry_run": dry_run,
                "backups": [
                    {
                        "id": each.id,
                        "size_bytes": each.size_bytes,
                        "parts": each.parts,
                        "sent_parts": each.sent_parts,
                        "sent_bytes": each.sent_bytes,
                    }
                    for each in pushed
                ],
            }
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
