"""What `owctl clean` shows: the list before, the account afterwards."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from owctl.context import Context

if TYPE_CHECKING:
    from owctl.lifecycle.clean import Cleaned, PreparedClean
    from owctl.lifecycle.clean_items import Item, Kept

_KINDS = {"container": "containers", "network": "networks", "volume": "volumes", "image": "images"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a clean did; ``backup`` is the one that it made first."""

    cleaned: "Cleaned"
    backup: Path | None


def show(context: Context, prepared: "PreparedClean") -> None:
    """Print what goes, with sizes, and what stays."""
    from owctl.commands.clean_restore import takes_restore_along, unfinished_restore
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
    from owctl.backup.space import readable

    return ", ".join(parts) + (f" ({readable(size_bytes)})" if size_bytes else "")


def _size(item: "Item") -> str:
    from owctl.backup.space import readable

    if item.size_bytes is None:
        return "unknown" if item.kind in ("volume", "image") else ""
    return readable(item.size_bytes)


def _document(
    context: Context, shown: "PreparedClean", outcome: Outcome | None, *, dry_run: bool
) -> dict[str, Any]:
    items = shown.listing.items if outcome is None else outcome.cleaned.removed
    kept = [*shown.listing.kept, *(outcome.cleaned.kept if outcome else ())]
    return {
        "schema": 1,
        "project": context.stack.project,
        "dry_run": dry_run,
        **{plural: [_item(i) for i in items if i.kind == kind] for kind, plural in _KINDS.items()},
        "kept": [_kept(each) for each in kept],
        "backup": str(outcome.backup) if outcome and outcome.backup else None,
    }


def _item(item: "Item") -> dict[str, Any]:
    size = {} if item.kind in ("container", "network") else {"size_bytes": item.size_bytes}
    return {"name": item.name, "id": item.id, **size, "note": item.note}


def _kept(kept: "Kept") -> dict[str, Any]:
    return {"kind": kept.kind, "name": kept.name, "why": kept.why}
