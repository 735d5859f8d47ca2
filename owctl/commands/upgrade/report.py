"""What `owctl upgrade` and `owctl rollback` say: the outlook before, the account afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from owctl.context import Context
from owctl.engine.images import short_id
from owctl.ui.console import json_document
from owctl.ui.table import Column

if TYPE_CHECKING:
    from owctl.project.upgrade_record import ImageNote, Upgrade
    from owctl.upgrade.images.candidates import Outlook
    from owctl.upgrade.images.roll import Replacement, Rolled
    from owctl.upgrade.images.run import Prepared


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an upgrade: nothing to do if ``upgrade`` is None."""

    prepared: "Prepared"
    upgrade: "Upgrade | None" = None
    rolled: "Rolled | None" = None


def show_outlook(
    context: Context, prepared: "Prepared", outlooks: Sequence["Outlook"], *, with_backup: bool
) -> None:
    """Print what would change, and the plan."""
    console = context.console
    console.table(
        [
            Column("SERVICE"),
            Column("NOW", narrow="fold"),
            Column("WOULD BE", narrow="fold"),
            Column("WHY", narrow="fold"),
        ],
        [[each.service, _now(each), _would_be(each), each.why] for each in outlooks],
    )
    for step in prepared.plan.steps:
        console.result(str(step))
    changing = [each for each in outlooks if each.verdict != "same"]
    if not changing:
        console.result("Nothing to upgrade.")
        return
    console.result("make a verified backup" if with_backup else "make NO backup")
    for outlook in changing:
        for replacement in prepared.replacements_of(outlook.service):
            console.result(_planned(replacement, certain=outlook.verdict == "new"))


def show_outcome(context: Context, outcome: Outcome, output_format: str) -> None:
    """Print what was upgraded, and how to go back."""
    console, upgrade, rolled = context.console, outcome.upgrade, outcome.rolled
    if output_format == "json":
        console.json(outcome_document(context.stack.project, upgrade, rolled))
        return
    if upgrade is None or rolled is None:
        console.info("Everything runs the newest images; nothing changed.")
        return
    show_changes(context, upgrade, rolled)
    if upgrade.backup_id is not None:
        console.info(f"Backup of before: {upgrade.backup_id}")
    console.info("Back to the images of before: owctl rollback")


def show_changes(context: Context, upgrade: "Upgrade", rolled: "Rolled") -> None:
    """Print a row a service: its images before and after, and how long it took."""
    if context.console.quiet:
        return
    context.console.table(
        [
            Column("SERVICE"),
            Column("BEFORE", narrow="fold"),
            Column("AFTER", narrow="fold"),
            Column("TOOK", right=True),
            Column("AWAY FOR", right=True),
        ],
        [
            [
                change.service,
                change.before.in_words,
                change.after.in_words,
                f"{rolled.seconds.get(change.service, 0):.1f} s",
                _gap(rolled, change.service),
            ]
            for change in upgrade.changes
        ],
    )


def planned_lines(replacements: Sequence["Replacement"]) -> list[str]:
    """Return the plan, one line a container."""
    return [_planned(each, certain=True) for each in replacements]


def outlook_document(
    project: str, prepared: "Prepared", outlooks: Sequence["Outlook"]
) -> dict[str, Any]:
    """Return the outlook as ``--json`` prints it; ``changes`` is null where it is not known."""
    return json_document(
        project,
        dry_run=True,
        services=[
            {
                "service": each.service,
                "reference": each.reference,
                "source": each.source,
                "changes": {"new": True, "same": False, "unknown": None}[each.verdict],
                "why": each.why,
                "before": image_document(each.before),
                "after": None if each.after is None else image_document(each.after),
                "registry_digest": each.digest,
                "containers": [
                    replacement_document(one) for one in prepared.replacements_of(each.service)
                ],
            }
            for each in outlooks
        ],
    )


def outcome_document(
    project: str, upgrade: "Upgrade | None", rolled: "Rolled | None"
) -> dict[str, Any]:
    """Return what was done as ``--json`` prints it; without services if nothing was to be done."""
    document: dict[str, Any] = json_document(
        project,
        dry_run=False,
        id=upgrade.id if upgrade else None,
        backup=upgrade.backup_id if upgrade else None,
        services=[],
    )
    if upgrade is None or rolled is None:
        return document
    document["services"] = [
        {
            "service": change.service,
            "before": image_document(change.before),
            "after": image_document(change.after),
            "duration_ms": round(rolled.seconds.get(change.service, 0.0) * 1000),
            "gap_ms": round(rolled.gap_seconds.get(change.service, 0.0) * 1000),
        }
        for change in upgrade.changes
    ]
    return document


def image_document(note: "ImageNote") -> dict[str, Any]:
    """Return an image as ``--json`` prints it."""
    return {
        "reference": note.reference,
        "image_id": note.image_id,
        "digest": note.digest,
        "version": note.version,
    }


def replacement_document(replacement: "Replacement") -> dict[str, Any]:
    """Return how one container is replaced as ``--json`` prints it."""
    return {
        "container": replacement.name,
        "number": replacement.number,
        "mode": replacement.mode,
        "gap": replacement.gap or None,
    }


def _planned(replacement: "Replacement", *, certain: bool) -> str:
    if replacement.mode == "beside":
        how = "the new one is ready before the old one stops"
    elif replacement.gap:
        how = f"away for a moment: {replacement.gap}"
    else:
        how = "the others serve meanwhile"
    condition = "" if certain else ", if its image changes"
    return f"replace container {replacement.name}{condition} ({how})"


def _now(outlook: "Outlook") -> str:
    digest = outlook.before.digest
    if outlook.after is None and outlook.digest is not None and digest is not None:
        # Beside a digest of the registry, a digest.
        version = f"{outlook.before.version}, " if outlook.before.version else ""
        return f"{version}digest {short_id(digest)}"
    return outlook.before.in_words


def _would_be(outlook: "Outlook") -> str:
    if outlook.verdict == "same":
        return "the same"
    if outlook.after is not None:
        return outlook.after.in_words
    if outlook.digest is not None:
        return f"digest {short_id(outlook.digest)}"
    return "?"


def _gap(rolled: "Rolled", service: str) -> str:
    gap = rolled.gap_seconds.get(service)
    return f"{gap:.1f} s" if gap else "-"
