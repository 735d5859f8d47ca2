"""Back to the images that were noted before the last upgrade."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from owctl.compose.model import Stack
from owctl.compose.order import dependency_order
from owctl.engine.connection import Engine
from owctl.engine.images import inspect_image
from owctl.errors import ImageMissing, OwctlError, UsageError
from owctl.lifecycle.observed import observe
from owctl.project.upgrade_record import Change, ImageNote, Record, Upgrade, release_images
from owctl.upgrade.candidates import check_are_described, present_image
from owctl.upgrade.columns import Moved, compare, read_columns
from owctl.upgrade.replacements import Replacement, plan_replacements
from owctl.upgrade.roll import Rolled
from owctl.upgrade.run import new_upgrade
from owctl.upgrade.transition import Way, go, go_back, note


@dataclass(frozen=True, slots=True)
class PreparedRollback:
    """What a rollback does: each service from what it runs to what was noted.

    ``undone`` are the upgrades that are undone; ``unfinished`` says that it is one that was
    interrupted. ``moved`` is how the database's columns changed since, None where that is not known.
    """

    changes: tuple[Change, ...]
    replacements: tuple[Replacement, ...]
    undone: tuple[Upgrade, ...]
    unfinished: bool
    moved: Moved | None

    @property
    def backup_id(self) -> str | None:
        """Return the backup made before what is undone, the oldest of several."""
        return next((each.backup_id for each in self.undone if each.backup_id), None)

    def replacements_of(self, service: str) -> tuple[Replacement, ...]:
        """Return how a service's containers are replaced."""
        return tuple(each for each in self.replacements if each.service == service)


def prepare_rollback(
    engine: Engine, stack: Stack, record: Record, names: Sequence[str]
) -> PreparedRollback:
    """Find out what to go back to; changes nothing. ``names`` empty: all of the last upgrade.

    Raises UsageError where nothing is on record, ImageMissing where an image is gone.
    """
    undone = _undone(record, names)
    chosen = _chosen(stack, record, undone, names)
    observed = observe(engine, stack, images=False)
    changes = list[Change]()
    for name, target in chosen.items():
        containers = observed.of(name)
        if not containers:
            raise OwctlError(
                f"{name} cannot be rolled back: it has no container.", hint=f"owctl start {name}"
            )
        _check_is_there(engine, name, target)
        present = present_image(engine, containers[0])
        if record.under_way is not None:
            begun = record.under_way.upgrade.of(name)
            left = present if begun is None else begun.before if _goes_on(record) else begun.after
            changes.append(Change(name, left, target))
        elif present.image_id != target.image_id:
            changes.append(Change(name, present, target))
    order = [change.service for change in changes]
    replaced = {name: observed.of(name) for name in order}
    return PreparedRollback(
        changes=tuple(changes),
        replacements=plan_replacements(release_images(stack), replaced, order),
        undone=undone,
        unfinished=record.under_way is not None,
        moved=_moved(engine, stack, undone),
    )


def run_rollback(way: Way, record: Record, prepared: PreparedRollback) -> tuple[Upgrade, Rolled]:
    """Go back, and return what is on record of it. Raises as ``go`` and ``go_back`` do."""
    if record.under_way is not None:
        if _goes_on(record):
            return record.under_way.upgrade, go(way, record, record)
        rolled = go_back(way, record)
        return replace(record.under_way.upgrade, kind="rollback", changes=prepared.changes), rolled
    upgrade = new_upgrade("rollback", prepared.changes, prepared.backup_id)
    upgrade = replace(upgrade, columns=read_columns(way.engine, way.stack))
    return upgrade, go(way, record, note(way, record, upgrade))


def _goes_on(record: Record) -> bool:
    """Return whether a rollback was interrupted on its way, which another one brings to its end."""
    under_way = record.under_way
    return (
        under_way is not None
        and under_way.upgrade.kind == "rollback"
        and under_way.phase == "replacing"
    )


def _undone(record: Record, names: Sequence[str]) -> tuple[Upgrade, ...]:
    """Return the upgrades that are undone, the oldest first."""
    if record.under_way is not None:
        if not _goes_on(record):
            return (record.under_way.upgrade,)
        names = record.under_way.upgrade.services
    if not names:
        if not record.finished:
            raise UsageError(
                "There is nothing to roll back: no upgrade is on record.",
                hint="owctl upgrade notes the images of before; owctl history shows what was done",
            )
        return (record.finished[-1],)
    found = [record.newest_of(name) for name in names]
    missing = [name for name, each in zip(names, found, strict=True) if each is None]
    if missing:
        raise UsageError(
            f"{', '.join(missing)} cannot be rolled back: no upgrade of it is on record.",
            hint="owctl rollback without names, for the last upgrade",
        )
    return tuple(each for each in record.finished if each in found)


def _chosen(
    stack: Stack, record: Record, undone: Sequence[Upgrade], names: Sequence[str]
) -> dict[str, ImageNote]:
    """Return the image to go back to by service; raises UsageError for one that is unknown now."""
    targets: dict[str, ImageNote] = {}
    if record.under_way is not None:
        changes = record.under_way.upgrade.changes
        names = ()
    else:
        changes = tuple(change for upgrade in undone for change in upgrade.changes)
    for change in changes:
        if not names or change.service in names:
            targets[change.service] = change.after if _goes_on(record) else change.before
    check_are_described(stack, list(targets))
    return {name: targets[name] for name in dependency_order(stack) if name in targets}


def _check_is_there(engine: Engine, service: str, note: ImageNote) -> None:
    if inspect_image(engine, note.kept_as or note.image_id) is None:
        raise ImageMissing(
            f"{service} cannot be rolled back: its image of before, {note.image_id}, is not on this "
            "machine any more. Nothing was changed.",
            hint=f"docker pull {note.reference.partition('@')[0].rpartition(':')[0]}@{note.digest}, "
            f"then docker tag it as {note.kept_as}"
            if note.digest
            else "docker load, if it was saved; or owctl upgrade, forward to a mended one",
        )


def _moved(engine: Engine, stack: Stack, undone: Sequence[Upgrade]) -> Moved | None:
    before = next((each.columns for each in undone if each.columns is not None), None)
    now = read_columns(engine, stack) if before is not None else None
    return compare(before, now) if before is not None and now is not None else None
