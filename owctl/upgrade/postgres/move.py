"""Everything of the old server into a new one beside it, compared, and its files beside the old ones."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from owctl.backup.create.run import create_safety_backup
from owctl.backup.manifest import Part
from owctl.changeover.transaction import Changeover
from owctl.engine.images import image_id
from owctl.engine.naming import PROJECT, VOLUME_OWNER
from owctl.engine.volumes import create_volume
from owctl.errors import ImageMissing, OwctlError
from owctl.figures import readable
from owctl.lifecycle.plan import Plan
from owctl.lifecycle.run import Prepared, prepare_start
from owctl.lifecycle.run import run as run_steps
from owctl.lifecycle.start_plan import StartOptions
from owctl.postgres.compare import Contents, contents_of, differences
from owctl.postgres.files import read_volume_files
from owctl.postgres.not_made import NotMade, is_known
from owctl.postgres.psql import Server
from owctl.postgres.server import Cluster, cluster_server, dumper
from owctl.postgres.transfer import (
    ClusterFacts,
    check_successor,
    look_at,
    move_databases,
    move_roles,
    move_settings,
)
from owctl.progress import Event, Receiver, warning
from owctl.upgrade.postgres.place import Journal
from owctl.upgrade.postgres.plan import (
    UpgradePlan,
    UpgradeRequest,
    refuse_users,
    with_image,
)
from owctl.upgrade.postgres.swap import files_of, keep_old_image, remove_others

_SHOWN_DIFFERENCES = 20


@dataclass(frozen=True, slots=True)
class Proof:
    """What was compared and found equal, and which settings of the old server's files were taken.

    ``not_made`` are objects, no rows, that the new server refused.
    """

    contents: Contents
    settings: tuple[str, ...]
    not_made: tuple[NotMade, ...] = ()


class Move:
    """One upgrade up to the moment at which the new files are put in place."""

    def __init__(
        self,
        upgrade: Changeover[Journal],
        plan: UpgradePlan,
        request: UpgradeRequest,
        receive: Receiver,
    ) -> None:
        self.upgrade = upgrade
        self.engine = upgrade.engine
        self.stack = upgrade.stack
        self.plan = plan
        self.request = request
        self.receive = receive
        self.stopped_at = time.monotonic()

    def stage(self) -> Proof:
        """Bring everything beside the old database; returns what was compared."""
        self._prepare()
        return self._carry_over()

    def _prepare(self) -> None:
        """Get the new image and make a verified backup, while everything runs."""
        self._get_image()
        self.plan = with_image(self.plan, self.engine, self.stack, self.request)
        place = self.plan.place
        self.upgrade.advance("preparing", new_major=place.new_major, old_image=place.old_image)
        journal = self.upgrade.journal
        keep_old_image(self.engine, journal)
        # One that was made of the new image already cannot read the data.
        if not place.is_running:
            remove_others(self.engine, self.stack, journal, journal.old_image)
        if journal.backup is not None:
            return
        label, parts = f"PostgreSQL {journal.new_major}", frozenset[Part]({"db", "config"})
        old = place.old_stack(self.stack)
        try:
            made = create_safety_backup(self.engine, old, label, self.receive, parts=parts)
        except OwctlError as error:
            raise type(error)(
                f"The backup failed, so nothing was upgraded: {error.message}",
                hint=error.hint or "owctl backup, which shows what is wrong",
                details=error.details,
            ) from error
        if made.failures:
            raise made.failures[0]
        self.upgrade.advance("preparing", backup=str(made.path))

    def _carry_over(self) -> Proof:
        """Bring everything into a new server of its own, compare, and copy its files beside."""
        journal = self.upgrade.journal
        labels = {PROJECT: self.stack.project, VOLUME_OWNER: str(self.stack.working_dir)}
        create_volume(self.engine, journal.new_volume, labels)
        with ExitStack() as opened:
            old, facts = self._facts(journal, opened)
            new = opened.enter_context(self._new_server(journal, facts))
            check_successor(new, facts)
            self._tell(f"PostgreSQL {journal.new_major}", "has what the database needs", done=True)
            if old is None:
                self._stop()
                old = opened.enter_context(self._old_server(journal))
                # Somebody may have made a database or an extension since.
                facts = look_at(old)
                check_successor(new, facts)
            proof = self._transfer(old, new, facts, journal)
        self._check_clean(journal)
        self._tell("database", "copying it beside the old one")
        files_of(self.engine, self.stack, journal).stage(journal.new_volume)
        self._tell("database", "copied beside the old one, and read back", done=True)
        self.upgrade.advance("moving")
        return proof

    def _facts(self, journal: Journal, opened: ExitStack) -> tuple[Server | None, ClusterFacts]:
        """Return what the old server has; also the server itself, where it had to be started."""
        if self.plan.place.is_running:
            return None, look_at(self.upgrade.services.server())
        self._stop()
        old = opened.enter_context(self._old_server(journal))
        return old, look_at(old)

    def _stop(self) -> None:
        """Stop what uses the database, and the database itself: nobody can write from here on."""
        self.upgrade.advance("moving")
        self.stopped_at = time.monotonic()
        self.upgrade.stop_users()

    def _transfer(self, old: Server, new: Server, facts: ClusterFacts, journal: Journal) -> Proof:
        whole = readable(facts.size_bytes)

        def tell(name: str, done_bytes: int) -> None:
            self._tell("database", f"loading {name}: {readable(done_bytes)} of about {whole}")

        with dumper(self.engine, self.stack.project, new.container.image_id, old) as source:
            self._tell("database", "making the roles")
            move_roles(source, new)
            not_made = move_databases(source, new, facts, tell)
        for each in not_made:
            self.receive(warning(each.in_words()))
        self._tell("database", "comparing every row")
        contents = self._compare(old, new, facts, not_made)
        settings, warnings = move_settings(old, new)
        for text in warnings:
            self.receive(warning(text))
        rows = f"{contents.rows} rows in {len(contents.tables)} tables"
        self._tell("database", f"the same in PostgreSQL {journal.new_major}: {rows}")
        return Proof(contents, tuple(settings), not_made)

    def _compare(
        self, old: Server, new: Server, facts: ClusterFacts, not_made: Sequence[NotMade]
    ) -> Contents:
        names = [each.name for each in facts.databases]
        before, now_there = self.engine.map(lambda server: contents_of(server, names), [old, new])
        if found := [
            each for each in differences(before, now_there) if not is_known(each, not_made)
        ]:
            more = len(found) - _SHOWN_DIFFERENCES
            raise OwctlError(
                "The new database is not the same as the old one.",
                hint="owctl backup verify --drill; and report what differs",
                details=[*found[:_SHOWN_DIFFERENCES], *([f"and {more} more"] if more > 0 else [])],
            )
        return now_there

    def _check_clean(self, journal: Journal) -> None:
        """Raise OwctlError unless both servers have written everything out."""
        image, folder = self.plan.place.old_image_id, journal.folder
        for volume in (journal.volume, journal.new_volume):
            files = read_volume_files(
                self.engine, self.stack.project, image, volume, [folder], users=True
            )
            if files is None or not files.is_clean:
                raise OwctlError(
                    f"PostgreSQL did not shut down in order in the volume {volume}.",
                    hint="the same command again",
                )

    @contextmanager
    def _old_server(self, journal: Journal) -> Iterator[Server]:
        self._tell("database", f"starting PostgreSQL {journal.old_major} for us alone")
        # Two servers on the same files would destroy them.
        refuse_users(self.engine, journal.volume)
        image = self.plan.place.old_image_id
        cluster = Cluster("old", image, journal.volume, instead_of=journal.volume)
        with self._server(cluster) as server:
            yield server

    @contextmanager
    def _new_server(self, journal: Journal, facts: ClusterFacts) -> Iterator[Server]:
        subject = f"PostgreSQL {journal.new_major}"
        self._tell(subject, "beginning a new database")
        image = image_id(self.engine, journal.new_image)
        if image is None:
            raise ImageMissing(f"The image {journal.new_image} is gone.", hint="the command again")
        libraries = facts.preloaded_libraries
        cluster = Cluster(
            "new",
            image,
            journal.new_volume,
            instead_of=journal.volume,
            settings=(f"shared_preload_libraries={libraries}",) if libraries else (),
            initdb_arguments="--data-checksums" if facts.has_checksums else "",
        )
        with self._server(cluster) as server:
            yield server

    @contextmanager
    def _server(self, cluster: Cluster) -> Iterator[Server]:
        service = self.stack.services[self.plan.place.service.name]
        seconds = self.request.timeout_seconds
        with cluster_server(
            self.engine, self.stack, service, cluster, timeout_seconds=seconds
        ) as server:
            yield server

    def _get_image(self) -> None:
        """Pull or build the new image, if it is not here."""
        name = self.plan.place.service.name
        alone = replace(self.stack, services={name: self.stack.services[name]})
        if image_id(self.engine, self.plan.place.new_image) is not None:
            return
        prepared = prepare_start(self.engine, alone, [name], StartOptions())
        steps = tuple(step for step in prepared.plan.steps if step.kind in ("pull", "build"))
        plan = Plan(steps)
        run_steps(self.engine, alone, Prepared(plan, prepared.observed), self.receive)

    def _tell(self, subject: str, text: str, *, done: bool = False) -> None:
        self.receive(Event(subject, "done" if done else "working", text))
