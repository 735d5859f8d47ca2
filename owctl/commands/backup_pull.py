"""``owctl backup pull``: parse, call the backup room, render."""

from typing import TYPE_CHECKING

import click

from owctl.commands.backup_place import BackupPlace, age, find_place, output_option
from owctl.commands.options import examples, format_option, pass_context
from owctl.commands.remote_options import (
    host_key_option,
    opened,
    parsed,
    remote_argument,
    transfer_receiver,
)
from owctl.context import Context

if TYPE_CHECKING:
    from owctl.backup.remote.contents import RemoteBackup
    from owctl.backup.remote.pull import Pulled

_EXAMPLES = examples(
    "owctl backup pull s3://my-backups/webui",
    "owctl backup pull s3://my-backups/webui latest",
    "owctl backup pull sftp://me@nas/backups 20250131 --output restored",
)


@click.command("pull", epilog=_EXAMPLES)
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
        from owctl.backup.remote.contents import list_remote

        with opened(address, host_key) as store:
            found = list_remote(store)
        _render_list(context, place, remote, found, output_format)
        return
    from owctl.backup.remote.contents import find_remote
    from owctl.backup.remote.pull import pull_backup
    from owctl.commands.mutation import recorded

    with (
        recorded(context, "backup pull"),
        opened(address, host_key) as store,
        context.console.progress("Pulling") as progress,
    ):
        backup_id = find_remote(store, reference, place.project)
        pulled = pull_backup(store, backup_id, place.parent, transfer_receiver(progress))
    _render(context, remote, pulled, output_format)


def _render(context: Context, remote: str, pulled: "Pulled", output_format: str) -> None:
    from owctl.backup.space import readable

    console, manifest = context.console, pulled.manifest
    if output_format == "json":
        console.json(
            {
                "schema": 1,
                "project": manifest.project,
                "remote": remote,
                "id": pulled.path.name,
                "path": str(pulled.path),
                "created_at": manifest.created_at,
                "size_bytes": manifest.size_bytes,
                "fetched_parts": pulled.fetched_parts,
                "fetched_bytes": pulled.fetched_bytes,
                "was_here": pulled.was_here,
            }
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
        console.json(
            {
                "schema": 1,
                "project": place.project,
                "remote": remote,
                "backups": [_entry(each) for each in found],
            }
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
    from owctl.backup.space import readable

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
