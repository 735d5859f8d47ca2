"""The swap of two clusters' files, the way back, and what the old server leaves: its files and its image."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from owctl.compose.model import Stack
from owctl.doctor.finding import Finding
from owctl.engine.archives import read_start
from owctl.engine.connection import Engine
from owctl.engine.containers import list_containers, remove_container
from owctl.engine.execution import run
from owctl.engine.images import image_id, remove_image, tag_image
from owctl.engine.volumes import inspect_volume, remove_volume
from owctl.errors import EngineError, ImageMissing, NotFound, OwctlError
from owctl.lifecycle.services import Services
from owctl.postgres.database import wait_for_answer
from owctl.postgres.psql import Server
from owctl.postgres.server import PURPOSE
from owctl.progress import Event, Receiver, ignore
from owctl.project.upgrade_record import read_record, write_record
from owctl.upgrade.postgres.journal import HALF_DONE, Journal, advance, read_journal, remove_journal
from owctl.upgrade.postgres.place import stack_with_image
from owctl.upgrade.postgres.plan import kept_running
from owctl.volumes import swap
from owctl.volumes.one_off import SOURCE_PATH, Helper, remove_helpers, volume_helper

# -- The old server's image, kept for the way back: without a name it would go with the next prune.


def keep_old_image(engine: Engine, journal: Journal) -> None:
    """Give an image that goes by its id only a name of owctl's own. Raises the engine's errors."""
    if journal.old_image.startswith("sha256:"):
        tag_image(engine, journal.old_image, _name(journal))


def release_old_image(engine: Engine, journal: Journal) -> None:
    """Take that name away; an image that a container uses stays."""
    if image_id(engine, _name(journal)) is not None:
        with suppress(EngineError):
            remove_image(engine, _name(journal), force=True)


def _name(journal: Journal) -> str:
    return f"owctl-postgres-before-upgrade:{journal.id}"


# -- The database's files in their volume: the new ones beside, then in place; the old ones kept.
# Volumes have no rename, so both databases end in the volume that the compose files name: the new one
# is copied into ``.owctl-postgres-<id>/new`` of the data folder, and put in place by the renames of a
# restore (``backup/restore/swap.py``), which can be begun again at any point and undone. Nothing that
# uses the volume runs meanwhile; the caller holds the project's lock.


_ID = re.compile(r"[0-9a-f]{8}")
_OWNER_AND_MODE = "stat -c '%u:%g 0%a' "
# Every file's content, whatever order the disk has them in.
_DIGEST = "find . -type f -print0 | sort -z | xargs -0 -r sha256sum | sha256sum"
# $1 is the staging folder, $2 the folder to copy. What is not the same afterwards is not staged.
_COPY = f"""
work=./$1
mkdir -m 700 "$work/new"
cp -a "$2/." "$work/new/"
before=$(cd "$2" && {_DIGEST})
now=$(cd "$work/new" && {_DIGEST})
[ "$before" = "$now" ] || {{ echo "the copy differs from what was copied" >&2; exit 1; }}
"""
_SIZE_OF_OLD = 'du -sk "./$1/old" | cut -f 1'


def files_of(engine: Engine, stack: Stack, journal: Journal) -> "ClusterFiles":
    """Return the files of the upgrade that a journal names; raises ImageMissing without any image."""
    references = (journal.old_image, journal.new_image)
    found = (image_id(engine, reference) for reference in references if reference)
    image = next((identity for identity in found if identity is not None), None)
    if image is None:
        raise ImageMissing(
            f"Neither {journal.old_image} nor {journal.new_image} is on this machine, and the "
            "files are worked on through a container of one of them.",
            hint=f"docker pull {journal.new_image}",
        )
    return ClusterFiles(engine, stack.project, image, journal.volume, journal.folder, journal.id)


@dataclass(frozen=True, slots=True)
class ClusterFiles:
    """The files of one upgrade: ``folder`` is where the data is in ``volume``, "" for its root."""

    engine: Engine
    project: str
    image_id: str
    volume: str
    folder: str
    upgrade_id: str

    def stage(self, new_volume: str) -> None:
        """Copy what is in the new volume beside the live files, and compare the two.

        What was staged before is thrown away. Raises OwctlError.
        """
        source = f"{SOURCE_PATH}/{self.folder}".rstrip("/")
        with self._helper(source_name=new_volume) as helper:
            helper.run(swap.BEGIN, [self.staging])
            helper.run(_COPY, [self.staging, source])
            root = helper.run(f'{_OWNER_AND_MODE} "$1"', [source]).strip()
            helper.run(swap.STAGED, [self.staging, root])

    def put_in_place(self) -> None:
        """Put the new files in place of the live ones, which are kept; or go on with it."""
        with self._helper() as helper:
            live = helper.run(f"{_OWNER_AND_MODE} .").strip()
            helper.run(swap.GO, [self.staging, "swapped", live])

    def put_back(self) -> None:
        """Put the old files back in place, from any state; no error where nothing was staged."""
        if self.state() == "absent":
            return
        with self._helper() as helper:
            helper.run(swap.GO, [self.staging, "staged", ""])

    def discard(self) -> None:
        """Remove what is beside the live files; raises OwctlError in the middle of a swap."""
        if self.state() == "swapping":
            raise OwctlError(
                f"The volume {self.volume} is in the middle of an upgrade.",
                hint="owctl upgrade --postgres-major resume; or undo",
            )
        try:
            with self._helper() as helper:
                helper.run(swap.DISCARD, [self.staging])
        except NotFound:
            return

    def state(self) -> swap.State:
        """Return how far the swap is; "swapping" is an interrupted one."""
        if inspect_volume(self.engine, self.volume) is None:
            return "absent"
        with self._helper(running=False) as helper:
            path = f"{helper.path}/{self.staging}/{swap.PHASE_FILE}"
            phase = read_start(self.engine, helper.id, path) or b""
        return swap.STATES.get(phase.decode("ascii", "replace").strip(), "absent")

    def kept_bytes(self) -> int:
        """Return how much room the old files take."""
        with self._helper() as helper:
            return int(helper.run(_SIZE_OF_OLD, [self.staging]).strip() or 0) * 1024

    @property
    def staging(self) -> str:
        """The folder in the data folder that holds what is not live."""
        if not _ID.fullmatch(self.upgrade_id):
            raise ValueError(f"{self.upgrade_id!r} is no id of an upgrade")
        return swap.CLUSTER_PREFIX + self.upgrade_id

    @contextmanager
    def _helper(self, *, running: bool = True, source_name: str | None = None) -> Iterator[Helper]:
        with volume_helper(
            self.engine,
            self.project,
            self.image_id,
            self.volume,
            "upgrade",
            writable=running,
            running=running,
            source_name=source_name,
        ) as helper:
            yield replace(helper, path=f"{helper.path}/{self.folder}".rstrip("/"))


# -- From new files beside the old ones to a stack that runs on them: also after an interruption.


_ANALYZE = ["vacuumdb", "--all", "--analyze-in-stages", "--quiet", "--no-password"]
_ANALYZE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Completed:
    """The new server at work. ``kept_bytes`` is what the old database takes, ``warnings`` what the
    user must know."""

    version: str
    kept_bytes: int
    warnings: tuple[str, ...]


def put_in_place(engine: Engine, stack: Stack, journal: Journal, services: Services) -> Journal:
    """Put the new files in place of the old ones, which are kept; or go on with it."""
    journal = advance(stack.working_dir, journal, "swapping")
    services.stop(keep=kept_running(services))
    files_of(engine, stack, journal).put_in_place()
    journal = advance(stack.working_dir, journal, "swapped")
    forget_images(stack, journal.service)
    remove_volume(engine, journal.new_volume)
    return journal


def forget_images(stack: Stack, service: str) -> None:
    """Take the database off the record of upgrades: no image of before can read its files now.

    What leads back is the undo of this upgrade, and no rollback. Raises OwctlError.
    """
    record = read_record(stack.working_dir)
    finished = []
    for each in record.finished:
        changes = tuple(change for change in each.changes if change.service != service)
        finished += [replace(each, changes=changes)] if changes else []
    held = {name: hold for name, hold in record.held.items() if name != service}
    if (tuple(finished), held) != (record.finished, dict(record.held)):
        write_record(stack.working_dir, replace(record, finished=tuple(finished), held=held))


def start_database(engine: Engine, journal: Journal, services: Services) -> None:
    """Start the new server on its files, and wait until it answers."""
    remove_others(engine, services.stack, journal, journal.new_image)
    services.start([journal.service])
    # One whose port cannot be reached from here counts as ready as soon as it runs.
    wait_for_answer(services.server(), services.timeout_seconds)


def start_others(journal: Journal, services: Services) -> Journal:
    """Start what ran before the upgrade. Raises OwctlError; then the new database is in place."""
    journal = advance(services.stack.working_dir, journal, "swapped", started=True)
    try:
        services.start(journal.running)
    except OwctlError as error:
        raise type(error)(
            f"The database is upgraded, but: {error.message}",
            hint="owctl upgrade --postgres-major undo, which puts the old database back"
            + (f"; or {error.hint}" if error.hint else ""),
            details=error.details,
        ) from error
    return journal


def complete(engine: Engine, stack: Stack, journal: Journal, services: Services) -> Completed:
    """Have the new server look at its data, and stop it again if the stack did not run before."""
    remove_volume(engine, journal.new_volume)
    server = services.start_database()
    warnings = _analyze(server)
    ((version,),) = server.ask("SHOW server_version;")
    kept = files_of(engine, stack, journal).kept_bytes()
    services.back_to(journal.running, had_containers=journal.had_containers)
    return Completed(version, kept, tuple(warnings))


def remove_others(engine: Engine, stack: Stack, journal: Journal, image: str) -> None:
    """Remove the database's containers, which do not run, unless they are of this image."""
    wanted = image_id(engine, image)
    for container in list_containers(engine, stack.project, services=[journal.service]):
        if container.image_id != wanted:
            remove_container(engine, container.id, force=True)


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


# -- Back to the old PostgreSQL, or on without it: from any phase, again and again.


def undo_upgrade(
    engine: Engine,
    stack: Stack,
    journal: Journal,
    receive: Receiver = ignore,
    *,
    timeout_seconds: float,
) -> None:
    """Put the old database back, with its own server, and remove the new one.

    The services that run now (or ran when the upgrade began) run again afterwards. The caller holds
    the project's lock. Raises OwctlError; then it can be called again.
    """
    check_same_engine(engine, stack, journal)
    if journal.phase == "finishing":
        raise OwctlError(
            "The upgrade is being finished: the old database may be gone already.",
            hint="owctl upgrade --postgres-major finish, which completes it",
        )
    remove_helpers(engine, stack.project, PURPOSE)
    old_stack = stack_with_image(stack, journal.service, journal.old_image)
    services = Services(engine, old_stack, receive, timeout_seconds)
    running = journal.running
    if journal.phase == "swapped" and journal.started:
        now = services.running()
        # Also those that ran and did not start any more: that may be why it is undone.
        running = tuple(dict.fromkeys((*now, *journal.running))) if now else ()
    if journal.phase in ("swapping", "swapped"):
        journal = advance(stack.working_dir, journal, "undoing", running=running)
    if journal.phase == "undoing":
        services.stop(keep=kept_running(services))
        receive(Event("database", "working", "putting the old one back"))
        files_of(engine, stack, journal).put_back()
        remove_others(engine, stack, journal, journal.old_image)
    if journal.phase != "preparing":
        files_of(engine, stack, journal).discard()
    remove_volume(engine, journal.new_volume)
    receive(Event("database", "done", f"PostgreSQL {journal.old_major}, as before"))
    _start_again(stack, services, journal)


def finish_upgrade(
    engine: Engine, stack: Stack, journal: Journal, receive: Receiver = ignore
) -> None:
    """Drop the old database, and the journal with it. The services go on meanwhile.

    The caller holds the project's lock. Raises OwctlError; then it can be called again.
    """
    check_same_engine(engine, stack, journal)
    if journal.phase not in ("swapped", "finishing"):
        raise OwctlError(
            f"The {journal.name} is not done yet (phase {journal.phase}).",
            hint="owctl upgrade --postgres-major resume; or undo",
        )
    remove_helpers(engine, stack.project, PURPOSE)
    journal = advance(stack.working_dir, journal, "finishing")
    receive(Event("database", "working", f"dropping that of PostgreSQL {journal.old_major}"))
    files_of(engine, stack, journal).discard()
    remove_volume(engine, journal.new_volume)
    release_old_image(engine, journal)
    remove_journal(stack.working_dir)
    receive(Event("database", "done", f"that of PostgreSQL {journal.old_major} dropped"))


def check_same_engine(engine: Engine, stack: Stack, journal: Journal) -> None:
    """Raise OwctlError where the journal is about another project, or another engine."""
    if journal.project != stack.project:
        raise OwctlError(
            f"The upgrade that was begun in this folder is of the project {journal.project}; "
            f"this is {stack.project}.",
            hint=f"owctl -p {journal.project} upgrade --postgres-major status",
        )
    if journal.engine_id != engine.engine_id:
        raise OwctlError(
            "The upgrade was begun on another engine than this one.",
            hint="owctl --context NAME upgrade --postgres-major status, naming that engine",
        )


def _start_again(stack: Stack, services: Services, journal: Journal) -> None:
    """Start what ran before. The data is back by now, so a service that fails is only told."""
    try:
        services.start(journal.running)
    except OwctlError as error:
        _forget(services.engine, stack, journal)
        raise type(error)(
            f"The database is as it was before the upgrade, but: {error.message}",
            hint=error.hint,
            details=error.details,
        ) from error
    with suppress(OwctlError):
        services.back_to(journal.running, had_containers=journal.had_containers)
    _forget(services.engine, stack, journal)


def _forget(engine: Engine, stack: Stack, journal: Journal) -> None:
    release_old_image(engine, journal)
    remove_journal(stack.working_dir)


# -- What the doctor says of an upgrade to another PostgreSQL that was not brought to its end.


# By then it is known whether the new one works.
LONG_ENOUGH = timedelta(days=7)


def check_kept(working_dir: Path, now: datetime | None = None) -> Finding | None:
    """Return a finding about an old database that is kept for long, or an upgrade that was cut off.

    None where there is nothing to say.
    """
    try:
        journal = read_journal(working_dir)
    except OwctlError as error:
        return Finding("postgres-version", "failed", error.message.rstrip("."), error.hint)
    if journal is None:
        return None
    if journal.phase in HALF_DONE:
        return Finding(
            "postgres-version",
            "failed",
            f"the {journal.name} was interrupted (phase {journal.phase})",
            "owctl upgrade --postgres-major resume; or undo",
        )
    age = (now or datetime.now(UTC)) - datetime.fromisoformat(journal.started_at)
    if journal.phase == "preparing" or age < LONG_ENOUGH:
        return None
    return Finding(
        "postgres-version",
        "warning",
        f"the database of PostgreSQL {journal.old_major} is still kept in the volume "
        f"{journal.volume}, {age.days} days after the upgrade to {journal.new_major}",
        "owctl upgrade --postgres-major finish, which drops it",
    )
