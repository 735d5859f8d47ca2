"""A restore: a safety backup, everything staged beside what is there, one swap, services again; and going on with one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from owctl.backup.create.run import BackupRequest, create_backup
from owctl.backup.inventory import take_inventory, volume_bytes
from owctl.backup.manifest import PARTS, Part
from owctl.backup.restore.begun_note import remove_begun_note
from owctl.backup.restore.configuration import stage_files
from owctl.backup.restore.journal import (
    Journal,
    VolumeName,
    advance,
    new_id,
    now,
    read_journal,
    write_journal,
)
from owctl.backup.restore.pieces import (
    Pieces,
    check_same_engine,
    complete_swap,
    finish_restore,
    start_again,
    swap,
    undo_restore,
)
from owctl.backup.restore.plan import (
    RestorePlan,
    RestoreRequest,
    VolumeTarget,
    plan_restore,
    with_server,
)
from owctl.backup.restore.source import DatabaseContent, Source
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.errors import BackupInvalid, Interrupted, OwctlError
from owctl.figures import readable
from owctl.lifecycle.services import Services
from owctl.postgres.load import count_rows, load_dump
from owctl.postgres.psql import Server
from owctl.postgres.swap import DatabaseSwap, database_names
from owctl.progress import Event, Receiver, ignore, warning
from owctl.volumes.archive_edit import STAGING_PREFIX, Content
from owctl.volumes.swap import stage_volume

# -- A restore: a safety backup, everything staged beside what is there, one swap, services again.


@dataclass(frozen=True, slots=True)
class RestoreOutcome:
    """A restore that is done, and not finished: ``rows`` by table, ``files_bytes`` by volume.

    ``kept_…`` is the room that what was there before takes, where it is known.
    """

    journal: Journal
    rows: dict[str, int]
    files_bytes: dict[str, int]
    kept_database_bytes: int | None
    kept_files_bytes: dict[str, int]
    warnings: tuple[str, ...] = ()


def run_restore(
    engine: Engine,
    stack: Stack,
    plan: RestorePlan,
    request: RestoreRequest,
    receive: Receiver = ignore,
    *,
    safety_backup: Path | None = None,
) -> RestoreOutcome:
    """Do what ``plan`` says. The caller holds the project's lock.

    ``safety_backup`` is one that an interrupted run has made already. An error before the swap,
    or in it, is raised when everything is as it was before; one after it (a service does not start)
    leaves the restored data in place. If going back fails, too, the journal says where it stands.
    """
    services = Services(engine, stack, receive, request.timeout_seconds)
    journal = _begin(engine, stack, plan, services, safety_backup)
    run = _Run(engine, stack, plan, request, receive, services)
    try:
        journal, rows = run.stage(journal)
        journal = run.swap(journal)
    except BaseException as error:
        told = _go_back(engine, stack, request, receive, error)
        if told is not None:
            raise told from error
        raise
    return run.complete(journal, rows)


class _Run:
    """One restore under way."""

    def __init__(
        self,
        engine: Engine,
        stack: Stack,
        plan: RestorePlan,
        request: RestoreRequest,
        receive: Receiver,
        services: Services,
    ) -> None:
        self.engine = engine
        self.stack = stack
        self.plan = plan
        self.request = request
        self.receive = receive
        self.services = services

    def stage(self, journal: Journal) -> tuple[Journal, dict[str, int]]:
        """Make everything ready beside what is there; returns the rows by table."""
        server = None
        if self.plan.database is not None:
            server = self.services.start_database()
            with_server(self.plan, server)
            names = database_names(server, journal.id)
            journal = advance(self.stack.working_dir, journal, "staging", database=names)
        journal = self._safety_backup(journal)
        rows: dict[str, int] = {}
        if server is not None and self.plan.database is not None:
            rows = self._database(server, self.plan.database, journal)
        for target in self.plan.volumes:
            self._volume(target, journal)
        files = stage_files(self.stack.working_dir, journal.id, self.plan.config)
        return advance(self.stack.working_dir, journal, "staged", config=files), rows

    def swap(self, journal: Journal) -> Journal:
        """Put what is staged in place."""
        return swap(self.engine, self.stack, journal, self.services, self.receive)

    def complete(self, journal: Journal, rows: dict[str, int]) -> RestoreOutcome:
        """Look at what is kept, and start the services again."""
        size = None
        if journal.database is not None:
            names = journal.database
            size = DatabaseSwap(self.services.server(), names).size_bytes(names.kept)
        if self.request.start:
            start_again(self.services, journal)
        else:
            self.services.back_to(journal.running, had_containers=journal.had_containers)
        files = {each.content.key: each.content.files_bytes for each in self.plan.volumes}
        return RestoreOutcome(
            journal, rows, files, size, self._kept_files(journal), self.plan.warnings
        )

    def _kept_files(self, journal: Journal) -> dict[str, int]:
        """Return how much room the previous files take, where a running container can be asked."""
        found = {}
        for source in take_inventory(self.engine, self.stack).volumes:
            kept = next((each for each in journal.volumes if each.name == source.name), None)
            folder = f"{STAGING_PREFIX}{journal.id}"
            size = 0 if kept is None else volume_bytes(self.engine, source, folder)
            if kept is not None and size:
                found[kept.key] = size
        return found

    def _safety_backup(self, journal: Journal) -> Journal:
        if not self.request.safety_backup or journal.safety_backup is not None:
            return journal
        wanted = set(self.plan.parts) | {"config"}
        parts: frozenset[Part] = frozenset(part for part in PARTS if part in wanted)
        label = f"before restore of {self.plan.source.id}"
        try:
            created = create_backup(
                self.engine, self.stack, BackupRequest(label=label, parts=parts), self.receive
            )
        except OwctlError as error:
            raise type(error)(
                f"The safety backup failed, so nothing was restored: {error.message}",
                hint=error.hint or "owctl backup, which shows what is wrong",
                details=error.details,
            ) from error
        return advance(
            self.stack.working_dir, journal, journal.phase, safety_backup=str(created.path)
        )

    def _database(
        self, server: Server, content: DatabaseContent, journal: Journal
    ) -> dict[str, int]:
        assert journal.database is not None
        swap = DatabaseSwap(server, journal.database)
        for text in swap.create(content.encoding, content.collation):
            self.receive(warning(text))
        whole = readable(content.content_bytes)

        def tell(done_bytes: int) -> None:
            text = f"loading: {readable(done_bytes)} of {whole}"
            self.receive(Event("database", "working", text))

        tell(0)
        with content.open() as opened:
            load_dump(
                self.engine,
                server.container,
                server.environment,
                journal.database.staged,
                _to_the_end(opened),
                form=content.form,
                on_bytes=tell,
            )
        self.receive(Event("database", "working", "counting rows"))
        rows = count_rows(
            self.engine, server.container, server.environment, journal.database.staged
        )
        _compare(rows, content)
        total = f"{sum(rows.values())} rows in {len(rows)} tables"
        self.receive(Event("database", "done", f"loaded beside, {total}"))
        return rows

    def _volume(self, target: VolumeTarget, journal: Journal) -> None:
        key, whole = target.content.key, readable(target.content.files_bytes)

        def tell(done_bytes: int) -> None:
            text = f"unpacking beside: {readable(done_bytes)} of {whole}"
            self.receive(Event(key, "working", text))

        pieces = Pieces(self.engine, self.stack, journal, self.services, self.receive)
        with ExitStack() as opened:
            stage_volume(
                self.engine,
                self.stack.project,
                pieces.image_id,
                target.volume.name,
                journal.id,
                opened.enter_context(target.content.open()),
                [opened.enter_context(copy()) for copy in target.content.sqlite],
                tell,
            )
        self.receive(Event(key, "done", f"unpacked beside, {whole}"))


def _begin(
    engine: Engine,
    stack: Stack,
    plan: RestorePlan,
    services: Services,
    safety_backup: Path | None,
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
        had_containers=services.have_containers(),
    )
    write_journal(stack.working_dir, journal)
    remove_begun_note(stack.working_dir)
    return journal


def _to_the_end(content: Content) -> Iterator[bytes]:
    """Yield the content and end well only if it was what was stored."""
    yield from content
    content.finish()


def _compare(rows: dict[str, int], content: DatabaseContent) -> None:
    """Raise BackupInvalid where a table does not have the rows that the source says."""
    for table, count in sorted((content.rows or {}).items()):
        if rows.get(table) != count:
            raise BackupInvalid(
                f"The table {table} has {rows.get(table, 'no')} rows after loading, and had {count} "
                "when the backup was made.",
                hint="owctl restore with another backup: owctl backup list",
            )


def _go_back(
    engine: Engine,
    stack: Stack,
    request: RestoreRequest,
    receive: Receiver,
    error: BaseException,
) -> OwctlError | None:
    """Undo what was begun; returns the error to raise, which says how that went."""
    hint: str | None = getattr(error, "hint", None)
    try:
        journal = read_journal(stack.working_dir)
        if journal is not None:
            receive(warning("Going back to what was there before."))
            undo_restore(engine, stack, journal, receive, timeout_seconds=request.timeout_seconds)
    except (OwctlError, KeyboardInterrupt) as second:
        why = second.message if isinstance(second, OwctlError) else "interrupted"
        outcome = f"Going back did not succeed: {why}"
        hint = "owctl restore undo; or owctl restore resume"
    else:
        outcome = "Everything is as it was before."
    if isinstance(error, KeyboardInterrupt | Interrupted):
        return Interrupted(f"Interrupted. {outcome}", hint=hint)
    if isinstance(error, OwctlError):
        error.details = (*error.details, outcome)
        error.hint = hint
    return None


# -- Going on with an interrupted restore, from the phase that its journal names.


def resume_restore(
    engine: Engine,
    stack: Stack,
    journal: Journal,
    open_source: Callable[[Sequence[Path]], Source],
    request: RestoreRequest,
    receive: Receiver = ignore,
) -> RestoreOutcome | None:
    """Bring a restore to the end that it was heading for.

    What was only staged is staged afresh, from the same backup, and then returned as an outcome; an
    interrupted swap, undo or finish is completed. The caller holds the project's lock. Raises what
    these raise; then it can be called again.
    """
    check_same_engine(engine, stack, journal)
    seconds = request.timeout_seconds
    if journal.phase == "undoing":
        undo_restore(engine, stack, journal, receive, timeout_seconds=seconds)
    elif journal.phase == "finishing":
        finish_restore(engine, stack, journal, receive, timeout_seconds=seconds)
    elif journal.phase in ("swapping", "swapped"):
        complete_swap(engine, stack, journal, receive, timeout_seconds=seconds)
    else:
        source = open_source([Path(path) for path in (journal.backup_path, *journal.other_paths)])
        undo_restore(engine, stack, journal, receive, timeout_seconds=seconds)
        parts = frozenset(cast("Part", part) for part in journal.parts)
        request = replace(request, parts=parts)
        plan = plan_restore(engine, stack, source, request, receive)
        # What is to run in the end was settled at the beginning.
        plan = replace(plan, running=journal.running)
        for text in plan.warnings:
            receive(warning(text))
        made = None if journal.safety_backup is None else Path(journal.safety_backup)
        return run_restore(engine, stack, plan, request, receive, safety_backup=made)
    return None
