"""``upgrade --postgres-major`` from its plan to its end, and going on with one that was interrupted."""

import time
from dataclasses import dataclass
from pathlib import Path

from owctl.backup.restore.journal import new_id, now
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.volumes import inspect_volume, remove_volume
from owctl.errors import Interrupted, OwctlError
from owctl.lifecycle.services import Services
from owctl.postgres.server import PURPOSE
from owctl.progress import Receiver, ignore, warning
from owctl.upgrade.postgres.journal import Journal, read_journal, write_journal
from owctl.upgrade.postgres.move import Move, Proof
from owctl.upgrade.postgres.plan import UpgradePlan, UpgradeRequest, plan_upgrade
from owctl.upgrade.postgres.swap import (
    Completed,
    check_same_engine,
    complete,
    finish_upgrade,
    put_in_place,
    start_database,
    start_others,
    undo_upgrade,
)
from owctl.volumes.one_off import remove_helpers

# -- The upgrade: backup, a new server beside, everything into it, compared, put in place, proven.


@dataclass(frozen=True, slots=True)
class UpgradeOutcome:
    """An upgrade that is done, and not finished: the old database is kept."""

    journal: Journal
    proof: Proof
    completed: Completed
    standstill_seconds: float


def upgrade_postgres(
    engine: Engine,
    stack: Stack,
    plan: UpgradePlan,
    request: UpgradeRequest,
    receive: Receiver = ignore,
    *,
    backup: Path | None = None,
) -> UpgradeOutcome:
    """Do what ``plan`` says. The caller holds the project's lock.

    ``backup`` is one that an interrupted run has made already. An error before the new database is
    in place, or in a new server that does not start on it, is raised when everything is as it was
    before; a later one leaves it in place. If going back fails, too, the journal says where it stands.
    """
    remove_helpers(engine, stack.project, PURPOSE)
    services = Services(engine, stack, receive, request.timeout_seconds)
    journal = _begin(engine, stack, plan, services, backup)
    move = Move(engine, stack, plan, request, receive, services)
    try:
        journal = move.prepare(journal)
        journal, proof = move.carry_over(journal)
        journal = put_in_place(engine, stack, journal, services)
        start_database(engine, journal, services)
    except BaseException as error:
        told = _go_back(engine, stack, request, receive, error)
        if told is not None:
            raise told from error
        raise
    journal = start_others(journal, services)
    seconds = time.monotonic() - move.stopped_at
    completed = complete(engine, stack, journal, services)
    return UpgradeOutcome(journal, proof, completed, seconds if plan.stops else 0.0)


def _begin(
    engine: Engine, stack: Stack, plan: UpgradePlan, services: Services, backup: Path | None
) -> Journal:
    """Write the journal down before anything is made that it names."""
    place, identity = plan.place, new_id()
    new_volume = f"{stack.project}-owctl-postgres-{identity}"
    if inspect_volume(engine, new_volume) is not None:
        remove_volume(engine, new_volume)
    journal = Journal(
        id=identity,
        project=stack.project,
        engine_id=engine.engine_id,
        phase="preparing",
        service=place.service.name,
        volume=place.volume,
        folder=place.folder,
        new_volume=new_volume,
        old_major=place.old_major,
        new_major=place.new_major or "",
        old_image=place.old_image,
        new_image=place.new_image,
        started_at=now(),
        running=plan.running,
        had_containers=services.have_containers(),
        backup=None if backup is None else str(backup),
    )
    write_journal(stack.working_dir, journal)
    return journal


def _go_back(
    engine: Engine,
    stack: Stack,
    request: UpgradeRequest,
    receive: Receiver,
    error: BaseException,
) -> OwctlError | None:
    """Undo what was begun; returns the error to raise, which says how that went."""
    hint: str | None = getattr(error, "hint", None)
    outcome = "Everything is as it was before."
    try:
        journal = read_journal(stack.working_dir)
        if journal is not None:
            receive(warning("Going back to what was there before."))
            undo_upgrade(engine, stack, journal, receive, timeout_seconds=request.timeout_seconds)
    except (OwctlError, KeyboardInterrupt) as second:
        why = second.message if isinstance(second, OwctlError) else "interrupted"
        outcome = f"Going back did not succeed: {why}"
        hint = "owctl upgrade --postgres-major undo; or resume"
    if isinstance(error, KeyboardInterrupt | Interrupted):
        return Interrupted(f"Interrupted. {outcome}", hint=hint)
    if isinstance(error, OwctlError):
        error.details = (*error.details, outcome)
        error.hint = hint
    return None


# -- Going on with an interrupted upgrade, from the phase that its journal names.


def resume_upgrade(
    engine: Engine,
    stack: Stack,
    journal: Journal,
    request: UpgradeRequest,
    receive: Receiver = ignore,
) -> UpgradeOutcome | None:
    """Bring an upgrade to the end that it was heading for.

    What was not yet in place is thrown away and begun again, with the backup that was made, and then
    returned as an outcome; an interrupted swap, undo or finish is completed. The caller holds the
    project's lock. Raises what these raise; then it can be called again.
    """
    check_same_engine(engine, stack, journal)
    seconds = request.timeout_seconds
    if journal.phase == "undoing":
        undo_upgrade(engine, stack, journal, receive, timeout_seconds=seconds)
    elif journal.phase == "finishing":
        finish_upgrade(engine, stack, journal, receive)
    elif journal.phase in ("swapping", "swapped"):
        remove_helpers(engine, stack.project, PURPOSE)
        services = Services(engine, stack, receive, seconds)
        if journal.phase == "swapping":
            journal = put_in_place(engine, stack, journal, services)
        start_database(engine, journal, services)
        journal = start_others(journal, services)
        complete(engine, stack, journal, services)
    else:
        undo_upgrade(engine, stack, journal, receive, timeout_seconds=seconds)
        plan = plan_upgrade(engine, stack, request, receive)
        made = None if journal.backup is None else Path(journal.backup)
        return upgrade_postgres(engine, stack, plan, request, receive, backup=made)
    return None
