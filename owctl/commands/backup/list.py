"""``owctl backup list``: which backups there are, and what is known of each."""

from typing import TYPE_CHECKING, Any

import click

from owctl.commands.backup.place import find_place, output_option
from owctl.commands.options import examples, format_option, pass_context
from owctl.context import Context
from owctl.figures import age, readable

if TYPE_CHECKING:
    from pathlib import Path

    from owctl.backup.catalogue import Backup
    from owctl.ui.table import Cell

_EXAMPLES = examples(
    "owctl backup list",
    "owctl backup list --output /mnt/nas/backups",
    "owctl backup list --json | jq -r '.backups[] | select(.problem) | .id'",
)


@click.command("list", epilog=_EXAMPLES)
@output_option
@format_option("table", "json")
@pass_context
def backup_list(context: Context, output: str | None, output_format: str) -> None:
    """Show the backups: age, size, contents, verified or broken.

    The newest is on top, what is dated in the future at the bottom. VERIFIED says when a backup was last read back and found sound, and `drill` if
    it was restored into a database of its own, too. CONTENTS is `all` for database, files, Redis and
    configuration, and `not all` where a line below says what is missing of them. Broken ones are shown,
    with what is wrong. Nothing but the folder is looked at: no engine is needed.
    """
    from owctl.backup.catalogue import list_backups
    from owctl.backup.publish import find_leftovers

    place = find_place(context, output)
    backups = list_backups(place.parent)[::-1]
    leftovers = find_leftovers(place.parent)
    if output_format == "json":
        context.console.document(
            place.project,
            folder=str(place.parent),
            backups=[describe(backup) for backup in backups],
            unfinished=[str(folder) for folder in leftovers],
        )
        return
    if backups:
        _show(context, backups, place.project)
    else:
        context.console.info(f"There are no backups in {place.parent}; `owctl backup` makes one.")
    _hint(context, leftovers)


def describe(backup: "Backup") -> dict[str, Any]:
    """Return what ``--json`` says of a backup."""
    manifest, seen = backup.manifest, backup.verification
    rows = _rows(backup)
    return {
        "id": backup.id,
        "path": str(backup.path),
        "project": manifest.project if manifest else None,
        "created_at": manifest.created_at if manifest else None,
        "size_bytes": manifest.size_bytes if manifest else None,
        "label": manifest.label if manifest else None,
        "parts": list(backup.parts),
        "lacks": list(backup.lacks),
        "tables": None if rows is None else len(rows),
        "rows": None if rows is None else sum(rows.values()),
        "verified": backup.is_verified,
        "verified_at": seen.checked_at if seen and backup.is_verified else None,
        "drilled": bool(seen and seen.drill and backup.is_verified),
        "problem": backup.broken_because,
        "future": backup.is_future,
        "members": [
            {"name": each.name, "kind": each.kind, "size_bytes": each.size_bytes}
            for each in (manifest.members if manifest else ())
        ],
    }


def _rows(backup: "Backup") -> dict[str, int] | None:
    members = backup.manifest.members if backup.manifest else ()
    return next((dict(m.detail.get("rows", {})) for m in members if m.kind == "database"), None)


def _show(context: Context, backups: "list[Backup]", project: str | None) -> None:
    from owctl.ui.table import Column

    columns = [
        Column("ID"),
        Column("AGE", right=True),
        Column("SIZE", right=True),
        Column("CONTENTS"),
        Column("VERIFIED"),
    ]
    projects = {each.manifest.project for each in backups if each.manifest} - {project}
    labelled = any(each.manifest and each.manifest.label for each in backups)
    columns += [Column("PROJECT", narrow="crop")] if projects else []
    columns += [Column("LABEL", narrow="crop")] if labelled else []
    rows = []
    for backup in backups:
        row = _row(backup)
        manifest = backup.manifest
        row += [manifest.project if manifest else "?"] if projects else []
        row += [(manifest.label if manifest else None) or ""] if labelled else []
        rows.append(row)
    context.console.table(columns, rows)
    for backup in backups:
        if backup.broken_because is not None:
            context.console.result(f"{backup.id} is broken: {backup.broken_because}")
        elif backup.is_future and backup.manifest is not None:
            context.console.result(
                f"{backup.id} is dated in the future ({backup.manifest.created_at}): it is not `latest`, "
                "and prune leaves it alone."
            )
        for each in backup.lacks:
            context.console.result(f"{backup.id} is not all: {each['why']}")


def _row(backup: "Backup") -> "list[str | Cell]":
    from owctl.ui.table import Cell

    manifest, seen = backup.manifest, backup.verification
    if backup.broken_because is not None:
        verified = Cell("BROKEN", "bold red")
    elif backup.is_verified and seen is not None:
        drill = "drill, " if seen.drill else ""
        verified = Cell(f"{drill}{age(seen.checked_at)} ago", "green")
    else:
        verified = Cell("no", "yellow")
    return [
        backup.id,
        age(manifest.created_at) if manifest else "?",
        readable(manifest.size_bytes) if manifest else "?",
        _contents(backup),
        verified,
    ]


def _contents(backup: "Backup") -> str:
    from owctl.backup.manifest import PARTS

    if set(backup.parts) >= set(PARTS):
        return "not all" if backup.lacks else "all"
    return ", ".join(backup.parts) or "?"


def _hint(context: Context, leftovers: "list[Path]") -> None:
    if leftovers:
        names = ", ".join(folder.name for folder in leftovers)
        context.console.info(
            f"Unfinished, of a run that was killed: {names}. The next `owctl backup` or "
            "`owctl backup prune` removes that."
        )
