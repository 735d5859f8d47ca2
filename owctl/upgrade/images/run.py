"""An upgrade from its backup to its record, and the way back to the images before it."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from owctl.compose.model import Stack
from owctl.compose.references import dependency_order
from owctl.engine.connection import Engine
from owctl.engine.images import forget_images, inspect_image
from owctl.errors import ImageMissing, OwctlError, UsageError
from owctl.lifecycle.observed import observe
from owctl.lifecycle.plan import Plan
from owctl.postgres.compare import Moved, compare_columns, read_columns
from owctl.progress import Receiver
from owctl.project.upgrade_record import (
    Change,
    Held,
    ImageNote,
    Kind,
    Record,
    UnderWay,
    Upgrade,
    read_record,
    release_images,
    write_record,
)
from owctl.upgrade.images.candidates import (
    Candidate,
    Fetching,
    check_are_described,
    fetch,
    fetch_plan,
    find_candidates,
    find_changes,
    present_image,
    present_tags,
    put_back,
)
from owctl.upgrade.images.roll import Replacement, Rolled, plan_replacements
from owctl.upgrade.images.transition import Way, go, go_back, note

# -- An upgrade from its beginning to its end: fetch, compare, note, replace.


@dataclass(frozen=True, slots=True)
class Prepared:
    """Before anything is fetched: the services, how their containers would be replaced, the steps
    that fetch. ``stack`` has the images of the files for those services.
    """

    stack: Stack
    candidates: tuple[Candidate, ...]
    replacements: tuple[Replacement, ...]
    plan: Plan

    def replacements_of(self, service: str) -> tuple[Replacement, ...]:
        """Return how a service's containers are replaced."""
        return tuple(each for each in self.replacements if each.service == service)


def prepare_upgrade(
    engine: Engine,
    stack: Stack,
    record: Record,
    names: Sequence[str],
    fetching: Fetching,
    *,
    named: bool,
) -> Prepared:
    """Look at what runs; changes nothing. Raises ServiceFailed where there is nothing to upgrade."""
    observed = observe(engine, stack, images=False)
    released = release_images(stack)
    candidates = find_candidates(engine, released, observed, record, names, named=named)
    chosen = [each.service.name for each in candidates]
    containers = {each.service.name: each.containers for each in candidates}
    return Prepared(
        stack=release_images(stack, chosen),
        candidates=candidates,
        replacements=plan_replacements(released, containers, chosen),
        plan=fetch_plan(released, candidates, fetching),
    )


class UpgradeRun:
    """One upgrade under way; the caller holds the project's lock.

    ``fetch_images``, then ``replace_containers`` if that returned changes. Where it ends between the
    two, ``abandon`` gives the images their names back.
    """

    def __init__(self, engine: Engine, stack: Stack, prepared: Prepared) -> None:
        self.engine = engine
        self.stack = stack
        self.prepared = prepared
        self.record = read_record(stack.working_dir)
        self.tags: dict[str, str | None] = {}

    @property
    def resumed(self) -> Upgrade | None:
        """Return the upgrade that this one goes on with, None if it begins anew."""
        under_way = self.record.under_way
        if under_way is None or under_way.phase == "acquiring":
            return None
        return under_way.upgrade if under_way.upgrade.kind == "upgrade" else None

    def fetch_images(self, fetching: Fetching, receive: Receiver) -> tuple[Change, ...]:
        """Pull and build, and return what changes by it. Raises OwctlError; then nothing changed."""
        self.tags = present_tags(self.engine, self.prepared.candidates)
        if self.resumed is None:
            begun = UnderWay(new_upgrade("upgrade", ()), "acquiring", self.tags)
            write_record(self.stack.working_dir, replace(self.record, under_way=begun))
        try:
            fetch(self.engine, self.prepared.stack, self.prepared.plan, fetching, receive)
            changes = find_changes(self.engine, self.prepared.candidates)
        except BaseException as error:
            self.abandon(error)
            raise
        if not changes:
            self._nothing_changes()
        return changes

    def abandon(self, error: BaseException) -> None:
        """Give the images their names back, and forget that anything was begun; ``error`` is why.

        Where that fails (a full disk, an engine that is gone) the next owctl does it.
        """
        said = ["Nothing was upgraded."]
        try:
            put_back(self.engine, self.tags)
            write_record(self.stack.working_dir, self.record)
        except OwctlError as another:
            said += [f"The next owctl clears up: {another.message}"]
        if isinstance(error, OwctlError):
            error.details = (*error.details, *said)

    def replace_containers(
        self, changes: Sequence[Change], backup_id: str | None, way: Way
    ) -> tuple[Upgrade, Rolled]:
        """Replace the containers, and return what is on record of it. Raises as ``go`` does."""
        resumed = self.resumed
        upgrade = new_upgrade("upgrade", changes, backup_id)
        try:
            columns = read_columns(self.engine, self.stack) if resumed is None else resumed.columns
            settled = replace(self.record, held=self._still_held(changes))
            noted = note(way, settled, replace(upgrade, columns=columns))
        except BaseException as error:
            self.abandon(error)
            raise
        return upgrade, go(way, settled, noted)

    def _still_held(self, changes: Sequence[Change]) -> dict[str, Held]:
        """Return what is held, but for services that run the very image that the files name."""
        chosen = {each.service.name for each in self.prepared.candidates}
        unchanged = chosen - {each.service for each in changes}
        return {name: each for name, each in self.record.held.items() if name not in unchanged}

    def _nothing_changes(self) -> None:
        """End it."""
        settled = Record(self.record.finished, self._still_held(()))
        write_record(self.stack.working_dir, settled)
        forget_images(self.engine, self.stack.project, settled.kept_names)


def recover(engine: Engine, stack: Stack) -> str | None:
    """Set right what a killed owctl left; returns a sentence if an upgrade is not finished.

    Names of images that were fetched, and not used, go back. The caller holds the project's lock.
    """
    record = read_record(stack.working_dir)
    if record.under_way is None:
        return None
    if record.under_way.phase == "acquiring":
        put_back(engine, record.under_way.tags)
        write_record(stack.working_dir, replace(record, under_way=None))
        return None
    return record.under_way.upgrade.unfinished


def new_upgrade(kind: Kind, changes: Sequence[Change], backup_id: str | None = None) -> Upgrade:
    """Return an upgrade that begins now."""
    return Upgrade(
        id=secrets.token_hex(4),
        kind=kind,
        started_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        changes=tuple(changes),
        backup_id=backup_id,
    )


# -- Back to the images that were noted before the last upgrade.


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
    return compare_columns(before, now) if before is not None and now is not None else None
