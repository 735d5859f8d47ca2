"""An upgrade from its beginning to its end: fetch, compare, note, replace."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.kept_images import forget_images
from owctl.errors import OwctlError
from owctl.lifecycle.observed import observe
from owctl.lifecycle.plan import Plan
from owctl.lifecycle.plan import Receiver as StepReceiver
from owctl.project.upgrade_record import (
    Change,
    Held,
    Kind,
    Record,
    UnderWay,
    Upgrade,
    read_record,
    release_images,
    write_record,
)
from owctl.upgrade.acquire import (
    Fetching,
    fetch,
    fetch_plan,
    find_changes,
    present_tags,
    put_back,
)
from owctl.upgrade.candidates import Candidate, find_candidates
from owctl.upgrade.columns import read_columns
from owctl.upgrade.replacements import Replacement, plan_replacements
from owctl.upgrade.roll import Rolled
from owctl.upgrade.transition import Way, go, note


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

    def fetch_images(self, fetching: Fetching, receive: StepReceiver) -> tuple[Change, ...]:
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
