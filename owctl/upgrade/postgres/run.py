"""``upgrade --postgres-major`` from its plan to its end: also one that was interrupted, and the way back."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from owctl.changeover.journal import new_id, now
from owctl.changeover.transaction import Changeover
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import list_containers
from owctl.engine.execution import run
from owctl.engine.volumes import inspect_volume, remove_volume
from owctl.lifecycle.services import Services
from owctl.postgres.place import wait_for_answer
from owctl.postgres.psql import Server
from owctl.postgres.server import PURPOSE
from owctl.progress import Receiver, ignore
from owctl.upgrade.postgres.move import Move, Proof
from owctl.upgrade.postgres.place import Journal, is_usable, stack_with_image
from owctl.upgrade.postgres.plan import UpgradePlan, UpgradeRequest, kept_running, plan_upgrade
from owctl.upgrade.postgres.swap import files_of, forget_images, release_old_image, remove_others
from owctl.volumes.one_off import remove_helpers

_ANALYZE = ["vacuumdb", "--all", "--analyze-in-stages", "--quiet", "--no-password"]
_ANALYZE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Completed:
    """The new server at work. ``kept_bytes`` is what the old database takes, ``warnings`` what the
    user must know."""

    version: str
    kept_bytes: int
    warnings: tuple[str, ...]


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
    journal = _begin(engine, stack, plan, backup)
    upgrade = PostgresUpgrade(engine, stack, journal, receive, request.timeout_seconds)
    move = Move(upgrade, plan, request, receive)
    proof = upgrade.run(move.stage)
    seconds = upgrade.live_at - move.stopped_at if plan.stops else 0.0
    assert upgrade.completed is not None
    return UpgradeOutcome(upgrade.journal, proof, upgrade.completed, seconds)


def resume_upgrade(
    engine: Engine,
    stack: Stack,
    journal: Journal,
    request: UpgradeRequest,
    receive: Receiver = ignore,
) -> UpgradeOutcome | None:
    """Bring an upgrade to the end that it was heading for.

    What was not yet in place is thrown away and begun again, with the backup that was made and from
    the old image of that time, and then returned as an outcome; an interrupted swap, undo or finish
    is completed. The caller holds the project's lock. Raises what these raise; then it can be called
    again.
    """
    upgrade = PostgresUpgrade(engine, stack, journal, receive, request.timeout_seconds)
    if upgrade.resume():
        return None
    upgrade.undo()
    # It may be gone by now, or its name another's: then it is looked for as in the beginning.
    if request.old_image is None and is_usable(engine, journal.old_image, journal.old_major):
        request = replace(request, old_image=journal.old_image)
    plan = plan_upgrade(engine, stack, request, receive)
    made = None if journal.backup is None else Path(journal.backup)
    return upgrade_postgres(engine, stack, plan, request, receive, backup=made)


class PostgresUpgrade(Changeover[Journal]):
    """An upgrade as a changeover: the files of a database in their volume, and its image."""

    completed: Completed | None = None
    live_at = 0.0

    def clear_leftovers(self) -> None:
        """Remove the servers that a killed run left."""
        remove_helpers(self.engine, self.stack.project, PURPOSE)

    def prepare_undo(self) -> None:
        """From here on the services are those of the old image."""
        old_stack = stack_with_image(self.stack, self.journal.service, self.journal.old_image)
        seconds = self.services.timeout_seconds
        self.services = Services(self.engine, old_stack, self.receive, seconds)

    def stop_users(self) -> None:
        """Stop the database and what uses it."""
        self.services.stop(keep=kept_running(self.services))

    def swap(self) -> None:
        """Put the new files in place of the old ones, which are kept."""
        files_of(self.engine, self.stack, self.journal).put_in_place()

    def swap_back(self) -> None:
        """Put the old files back."""
        self.tell("database", "working", "putting the old one back")
        files_of(self.engine, self.stack, self.journal).put_back()
        remove_others(self.engine, self.stack, self.journal, self.journal.old_image)

    def discard_new(self) -> None:
        """Remove the new database, wherever it is."""
        if self.journal.phase != "preparing":
            files_of(self.engine, self.stack, self.journal).discard()
        remove_volume(self.engine, self.journal.new_volume)
        self.tell("database", "done", f"PostgreSQL {self.journal.old_major}, as before")

    def discard_kept(self) -> None:
        """Drop the old database."""
        old = f"that of PostgreSQL {self.journal.old_major}"
        self.tell("database", "working", f"dropping {old}")
        files_of(self.engine, self.stack, self.journal).discard()
        remove_volume(self.engine, self.journal.new_volume)
        self.tell("database", "done", f"{old} dropped")

    def settle(self) -> None:
        """Start the new server on its files, and wait until it answers."""
        forget_images(self.stack, self.journal.service)
        remove_volume(self.engine, self.journal.new_volume)
        start_database(self.engine, self.journal, self.services)

    def look(self) -> None:
        """Have the new server look at its data."""
        self.live_at = time.monotonic()
        server = self.services.start_database()
        warnings = _analyze(server)
        ((version,),) = server.ask("SHOW server_version;")
        kept = files_of(self.engine, self.stack, self.journal).kept_bytes()
        self.completed = Completed(version, kept, tuple(warnings))

    def close(self) -> None:
        """Remove the journal, and the name that the old image was kept by."""
        release_old_image(self.engine, self.journal)
        super().close()


def _begin(engine: Engine, stack: Stack, plan: UpgradePlan, backup: Path | None) -> Journal:
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
        had_containers=bool(list_containers(engine, stack.project)),
        backup=None if backup is None else str(backup),
    )
    journal.write(stack.working_dir)
    return journal


def start_database(engine: Engine, journal: Journal, services: Services) -> None:
    """Start the new server on its files, and wait until it answers."""
    remove_others(engine, services.stack, journal, journal.new_image)
    services.start([journal.service])
    # One whose port cannot be reached from here counts as ready as soon as it runs.
    wait_for_answer(services.server(), services.timeout_seconds)


def _analyze(server: Server) -> list[str]:
    """Give the planner its statistics, which a dump does not take along; returns warnings."""
    answer = run(
        server.engine,
        server.container.id,
        _ANALYZE,
        environment=server.environment,
        timeout_seconds=_ANALYZE_SECONDS,
    )
    if answer.exit_code == 0:
        return []
    words = answer.stderr.decode("utf-8", "replace").strip().splitlines()
    return [
        "The new database works, but has no statistics yet, so that queries may be slow: vacuumdb "
        f"--all --analyze-in-stages failed: {words[-1] if words else f'code {answer.exit_code}'}"
    ]
