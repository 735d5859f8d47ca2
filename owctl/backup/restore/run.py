"""A restore: a safety backup, everything staged beside what is there, one swap, services again; the way back, the end."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

from owctl.backup.inventory import take_inventory, volume_bytes
from owctl.backup.manifest import Part
from owctl.backup.restore.configuration import (
    discard_files,
    swap_files,
    swap_files_back,
)
from owctl.backup.restore.journal import Journal, VolumeName, remove_begun_note
from owctl.backup.restore.plan import (
    RestorePlan,
    RestoreRequest,
    plan_restore,
    refuse_foreign,
)
from owctl.backup.restore.source import Source
from owctl.backup.restore.staging import LateObjects, Staging
from owctl.changeover.journal import new_id, now
from owctl.changeover.transaction import Changeover
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import list_containers, start_container, stop_container
from owctl.engine.images import inspect_image
from owctl.errors import ImageMissing, NotFound, OwctlError
from owctl.lifecycle.services import Services
from owctl.postgres.not_made import NotMade
from owctl.postgres.psql import Server
from owctl.postgres.swap import DatabaseSwap
from owctl.progress import Receiver, ignore, warning
from owctl.volumes.archive_edit import STAGING_PREFIX
from owctl.volumes.swap import discard_staging, swap_volume, unswap_volume


@dataclass(frozen=True, slots=True)
class RestoreOutcome:
    """A restore that is done, and not finished: ``rows`` by table, ``files_bytes`` by volume.

    ``kept_…`` is the room that what was there before takes, where it is known. ``not_made`` are
    objects of the dump, no rows, that PostgreSQL refused.
    """

    journal: Journal
    rows: dict[str, int]
    files_bytes: dict[str, int]
    kept_database_bytes: int | None
    kept_files_bytes: dict[str, int]
    warnings: tuple[str, ...] = ()
    not_made: tuple[NotMade, ...] = ()


def run_restore(
    engine: Engine,
    stack: Stack,
    plan: RestorePlan,
    request: RestoreRequest,
    receive: Receiver = ignore,
    *,
    safety_backup: Path | None = None,
    anew: bool = False,
) -> RestoreOutcome:
    """Do what ``plan`` says. The caller holds the project's lock.

    ``safety_backup`` is one that an interrupted run has made already; ``anew`` is for a stack that was
    never here. Images of what is to be started are got first: without them nothing is begun. An error before the swap,
    or in it, is raised when everything is as it was before; one after it (a service does not start)
    leaves the restored data in place. If going back fails, too, the journal says where it stands.
    """
    _have_images(Services(engine, stack, receive, request.timeout_seconds), plan)
    journal = _begin(engine, stack, plan, request, safety_backup, anew)
    restore = Restore(engine, stack, journal, receive, request.timeout_seconds)
    staging = Staging(restore, plan, receive)
    rows = restore.run(staging.stage)
    return RestoreOutcome(
        restore.journal,
        rows,
        {each.content.key: each.content.files_bytes for each in plan.volumes},
        restore.kept_database_bytes,
        restore.kept_files_bytes(),
        (*plan.warnings, *staging.warnings),
        restore.late + restore.not_made,
    )


def resume_restore(
    engine: Engine,
    stack: Stack,
    journal: Journal,
    open_source: Callable[[Sequence[Path]], Source],
    request: RestoreRequest,
    receive: Receiver = ignore,
) -> RestoreOutcome | None:
    """Bring a restore to the end that it was heading for, as it was told to when it began.

    What was only staged is staged afresh, from the same backup, and then returned as an outcome; an
    interrupted swap, undo or finish is completed. The caller holds the project's lock. Raises what
    these raise; then it can be called again.
    """
    restore = Restore(engine, stack, journal, receive, request.timeout_seconds)
    if restore.resume():
        return None
    source = open_source([Path(path) for path in (journal.backup_path, *journal.other_paths)])
    restore.undo()
    request = replace(
        request,
        parts=frozenset(cast("Part", part) for part in journal.parts),
        safety_backup=journal.wants_safety_backup,
        start=journal.wants_start,
    )
    plan = plan_restore(engine, stack, source, request, receive)
    # What is to run in the end was settled at the beginning.
    plan = replace(plan, running=journal.running)
    for text in plan.warnings:
        receive(warning(text))
    made = None if journal.safety_backup is None else Path(journal.safety_backup)
    return run_restore(engine, stack, plan, request, receive, safety_backup=made, anew=journal.anew)


def undo_restore(
    engine: Engine,
    stack: Stack,
    journal: Journal,
    receive: Receiver = ignore,
    *,
    timeout_seconds: float,
) -> None:
    """Put everything back as it was before the restore, and remove what was restored."""
    Restore(engine, stack, journal, receive, timeout_seconds).undo()


def finish_restore(
    engine: Engine,
    stack: Stack,
    journal: Journal,
    receive: Receiver = ignore,
    *,
    timeout_seconds: float,
) -> None:
    """Keep what was restored: drop what was there before, and the journal with it."""
    Restore(engine, stack, journal, receive, timeout_seconds).finish()


class Restore(Changeover[Journal]):
    """A restore as a changeover: a database, volumes and files of the configuration."""

    kept_database_bytes: int | None = None
    not_made: tuple[NotMade, ...] = ()
    late: tuple[NotMade, ...] = ()

    def stop_users(self) -> None:
        """Stop what uses the data; the database runs, to be renamed, unless its volume is swapped."""
        if self.journal.database is not None:
            self.services.start_database()
        volumes = [volume.name for volume in self.journal.volumes]
        others = self.services.others_at_work(volumes)
        refuse_foreign(self.stack, others)
        if others:
            halted = tuple(dict.fromkeys((*self.journal.halted, *(each.id for each in others))))
            self.advance(self.journal.phase, halted=halted)
        for each in others:
            stop_container(self.engine, each.id)
        self.services.stop(keep=self.services.undisturbed(self.journal.parts, volumes))

    def close(self) -> None:
        """Start what was stopped and is of no service, where all is as before; remove the journal.

        The same command goes on with a restore that went back to an empty folder.
        """
        if self.journal.phase not in ("swapped", "finishing"):
            self._start_halted()
        goes_on = self.journal.anew and self.journal.phase != "finishing"
        self.journal.remove(self.stack.working_dir, begun=goes_on)

    def _start_halted(self) -> None:
        for container_id in self.journal.halted:
            with suppress(NotFound):
                start_container(self.engine, container_id)

    def swap(self) -> None:
        """Put everything that is staged in place."""
        for volume in self.journal.volumes:
            self.tell(volume.key, "working", "putting the restored files in place")
            swap_volume(*self._volume(volume.name))
            self.tell(volume.key, "done", "in place")
        if self.journal.database is not None:
            self.tell("database", "working", "putting the restored one in place")
            server = self.services.start_database()
            DatabaseSwap(server, self.journal.database).swap()
            self._make_late(server)
            self.tell("database", "done", "in place")
        swap_files(self.stack.working_dir, self.journal.id, self.journal.config)

    def _make_late(self, server: Server) -> None:
        """Make what an extension makes in the database of this name alone."""
        problems = LateObjects(self.stack.working_dir, self.journal.id).make(server)
        if problems:
            # After a kill it is not known any more what they are, one by one.
            lines = [each.in_words() for each in self.late]
            for text in lines or [f"An extension was not made: {' '.join(problems)}"]:
                self.receive(warning(text))
        elif problems == []:
            self.late = ()

    def swap_back(self) -> None:
        """Put everything back that was in place before."""
        swap_files_back(self.stack.working_dir, self.journal.id, self.journal.config)
        for volume in self.journal.volumes:
            self.tell(volume.key, "working", "putting the previous files back")
            unswap_volume(*self._volume(volume.name))
            self.tell(volume.key, "done", "as before")
        if self.journal.database is not None:
            self.tell("database", "working", "putting the previous one back")
            DatabaseSwap(self.services.start_database(), self.journal.database).swap_back()
            self.tell("database", "done", "as before")

    def discard_new(self) -> None:
        """Remove what was staged, and is not in place."""
        if self.journal.database is not None:
            DatabaseSwap(self.services.start_database(), self.journal.database).drop_staged()
        self._discard_files()

    def discard_kept(self) -> None:
        """Remove what was there before; a database that was started for it is stopped again."""
        if self.journal.database is not None:
            DatabaseSwap(self.services.start_database(), self.journal.database).drop_kept()
        self._discard_files()
        self.services.back_to(self.journal.running, had_containers=self.journal.had_containers)

    @property
    def ran_before(self) -> tuple[str, ...]:
        """The services that ran before it: none, where nothing was there."""
        return () if self.journal.anew else self.journal.running

    def look(self) -> None:
        """Start what is of no service, and see how much room the previous database takes."""
        if self.journal.wants_start:
            self._start_halted()
        names, server = self.journal.database, self.services.server_if_running()
        if names is not None and server is not None:
            self.kept_database_bytes = DatabaseSwap(server, names).size_bytes(names.kept)

    @property
    def starts(self) -> tuple[str, ...]:
        """The services to be started on the restored data."""
        return self.journal.running if self.journal.wants_start else ()

    @cached_property
    def image_id(self) -> str:
        """An image for helper containers that is here, the database's first. Raises ImageMissing."""
        names = [name for name in (self.services.database, *self.stack.services) if name]
        containers = {
            c.service: c.image_id for c in take_inventory(self.engine, self.stack).containers
        }
        for name in names:
            if name in containers:
                return containers[name]
        for name in names:
            reference = self.stack.services[name].image_name(self.stack.project)
            image = inspect_image(self.engine, reference)
            if image is not None:
                return image.id
        raise ImageMissing(
            "Files are restored through a container, and none of the stack's images is here.",
            hint="owctl start",
        )

    def kept_files_bytes(self) -> dict[str, int]:
        """Return how much room the previous files take, where a running container can be asked."""
        found = {}
        for source in take_inventory(self.engine, self.stack).volumes:
            kept = next((each for each in self.journal.volumes if each.name == source.name), None)
            folder = f"{STAGING_PREFIX}{self.journal.id}"
            size = 0 if kept is None else volume_bytes(self.engine, source, folder)
            if kept is not None and size:
                found[kept.key] = size
        return found

    def _volume(self, name: str) -> tuple[Engine, str, str, str, str]:
        return self.engine, self.stack.project, self.image_id, name, self.journal.id

    def _discard_files(self) -> None:
        for volume in self.journal.volumes:
            discard_staging(*self._volume(volume.name))
        discard_files(self.stack.working_dir, self.journal.id)


def _begin(
    engine: Engine,
    stack: Stack,
    plan: RestorePlan,
    request: RestoreRequest,
    safety_backup: Path | None,
    anew: bool,
) -> Journal:
    """Write the journal down before anything is made that it names."""
    journal = Journal(
        id=new_id(),
        project=stack.project,
        engine_id=engine.engine_id,
        phase="staging",
        backup_id=plan.source.id,
        backup_path=str(plan.source.paths[0]),
        other_paths=tuple(str(path) for path in plan.source.paths[1:]),
        parts=plan.parts,
        started_at=now(),
        running=plan.running,
        volumes=tuple(
            VolumeName(target.content.key, target.volume.name) for target in plan.volumes
        ),
        safety_backup=None if safety_backup is None else str(safety_backup),
        had_containers=bool(list_containers(engine, stack.project)),
        wants_safety_backup=request.safety_backup,
        wants_start=request.start,
        timeout_seconds=request.timeout_seconds,
        anew=anew,
    )
    journal.write(stack.working_dir)
    remove_begun_note(stack.working_dir)
    return journal


def _have_images(services: Services, plan: RestorePlan) -> None:
    """Get the images of what is to be started in the course of a restore, as ``start`` does."""
    database = services.database if plan.database is not None else None
    try:
        services.fetch_images({*plan.running, *filter(None, [database])})
    except OwctlError as error:
        error.details = (*error.details, "Nothing was restored, and nothing stopped.")
        raise
