"""The pieces of one restore, by its journal: staging, the swap, the way back, the end; from any phase, again and again."""

from contextlib import suppress
from functools import cached_property

from owctl.backup.inventory import take_inventory
from owctl.backup.restore.configuration import discard_files, swap_files, swap_files_back
from owctl.backup.restore.journal import Journal, advance, remove_journal
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.images import inspect_image
from owctl.errors import ImageMissing, OwctlError
from owctl.lifecycle.services import Services
from owctl.postgres.swap import DatabaseSwap
from owctl.progress import Event, Receiver, State, ignore, warning
from owctl.volumes.swap import discard_staging, swap_volume, unswap_volume

# -- The pieces of one restore, by its journal: what staging, swapping and going back are made of.
# Each can be called again after a kill at any point.


class Pieces:
    """What one journal names, on one engine."""

    def __init__(
        self, engine: Engine, stack: Stack, journal: Journal, services: Services, receive: Receiver
    ) -> None:
        self.engine = engine
        self.stack = stack
        self.journal = journal
        self.services = services
        self.receive = receive

    def swap(self) -> None:
        """Put everything that is staged in place; nothing may use it meanwhile."""
        for volume in self.journal.volumes:
            self._tell(volume.key, "working", "putting the restored files in place")
            swap_volume(*self._volume(volume.name))
            self._tell(volume.key, "done", "in place")
        if self.journal.database is not None:
            self._tell("database", "working", "putting the restored one in place")
            DatabaseSwap(self.services.server(), self.journal.database).swap()
            self._tell("database", "done", "in place")
        swap_files(self.stack.working_dir, self.journal.id, self.journal.config)

    def swap_back(self) -> None:
        """Put everything back that was in place before."""
        swap_files_back(self.stack.working_dir, self.journal.id, self.journal.config)
        if self.journal.database is not None:
            self._tell("database", "working", "putting the previous one back")
            DatabaseSwap(self.services.server(), self.journal.database).swap_back()
            self._tell("database", "done", "as before")
        for volume in self.journal.volumes:
            self._tell(volume.key, "working", "putting the previous files back")
            unswap_volume(*self._volume(volume.name))
            self._tell(volume.key, "done", "as before")

    def discard_restored(self) -> None:
        """Remove what was staged, and is not in place."""
        if self.journal.database is not None:
            DatabaseSwap(self.services.start_database(), self.journal.database).drop_staged()
        self._discard_files()

    def discard_kept(self) -> None:
        """Remove what was there before the restore."""
        if self.journal.database is not None:
            DatabaseSwap(self.services.start_database(), self.journal.database).drop_kept()
        self._discard_files()

    @cached_property
    def image_id(self) -> str:
        """Return an image for helper containers: one that is here. Raises ImageMissing."""
        return helper_image(self.engine, self.stack, self.services)

    def _volume(self, name: str) -> tuple[Engine, str, str, str, str]:
        return self.engine, self.stack.project, self.image_id, name, self.journal.id

    def _discard_files(self) -> None:
        for volume in self.journal.volumes:
            discard_staging(*self._volume(volume.name))
        discard_files(self.stack.working_dir, self.journal.id)

    def _tell(self, subject: str, state: State, text: str) -> None:
        self.receive(Event(subject, state, text))


def helper_image(engine: Engine, stack: Stack, services: Services) -> str:
    """Return the id of an image with a shell, the database's first; raises ImageMissing."""
    names = [services.database, *stack.services] if services.database else [*stack.services]
    containers = {c.service: c.image_id for c in take_inventory(engine, stack).containers}
    for name in names:
        if name in containers:
            return containers[name]
    for name in names:
        image = inspect_image(engine, stack.services[name].image_name(stack.project))
        if image is not None:
            return image.id
    raise ImageMissing(
        "Files are restored through a container, and none of the stack's images is here.",
        hint="owctl start",
    )


def check_same_engine(engine: Engine, stack: Stack, journal: Journal) -> None:
    """Raise OwctlError where the journal is about another project, or another engine."""
    if journal.project != stack.project:
        raise OwctlError(
            f"The restore that was begun in this folder is of the project {journal.project}; "
            f"this is {stack.project}.",
            hint=f"owctl -p {journal.project} restore status",
        )
    if journal.engine_id != engine.engine_id:
        raise OwctlError(
            "The restore was begun on another engine than this one.",
            hint="owctl --context NAME restore status, naming the engine of that time",
        )


# -- From what is staged to what runs: the swap, also an interrupted one, and the services again.


def complete_swap(
    engine: Engine, stack: Stack, journal: Journal, receive: Receiver, *, timeout_seconds: float
) -> None:
    """Bring an interrupted swap to its end, and start the services that ran before."""
    check_same_engine(engine, stack, journal)
    services = Services(engine, stack, receive, timeout_seconds)
    if journal.phase != "swapped":
        journal = swap(engine, stack, journal, services, receive)
    start_again(services, journal)


def swap(
    engine: Engine, stack: Stack, journal: Journal, services: Services, receive: Receiver
) -> Journal:
    """Stop what uses the data, put everything in place, and write that down."""
    journal = advance(stack.working_dir, journal, "swapping")
    if journal.database is not None:
        services.start_database()
    services.stop(keep=services.undisturbed(journal.parts))
    Pieces(engine, stack, journal, services, receive).swap()
    return advance(stack.working_dir, journal, "swapped")


def start_again(services: Services, journal: Journal) -> None:
    """Start what ran before the restore; what was started only for it is stopped."""
    try:
        services.start(journal.running)
        services.back_to(journal.running, had_containers=journal.had_containers)
    except OwctlError as error:
        raise type(error)(
            f"The data is restored, but: {error.message}",
            hint="owctl restore undo, which puts back what was there before"
            + (f"; or {error.hint}" if error.hint else ""),
            details=error.details,
        ) from error


# -- Back to what was there before a restore, and finishing it: from any phase, again and again.


_STAGING = ("staging", "staged")


def undo_restore(
    engine: Engine,
    stack: Stack,
    journal: Journal,
    receive: Receiver = ignore,
    *,
    timeout_seconds: float,
) -> None:
    """Put everything back as it was before the restore, and remove what was restored.

    The services that run now (or ran when an interrupted swap began) run again afterwards. The
    caller holds the project's lock. Raises OwctlError; then it can be called again.
    """
    check_same_engine(engine, stack, journal)
    if journal.phase == "finishing":
        raise OwctlError(
            "The restore is being finished: what was there before may be gone already.",
            hint="owctl restore finish, which completes it",
        )
    services = Services(engine, stack, receive, timeout_seconds)
    if journal.phase in _STAGING:
        Pieces(engine, stack, journal, services, receive).discard_restored()
        services.back_to(journal.running, had_containers=journal.had_containers)
        remove_journal(stack.working_dir)
        return
    running, had_containers = journal.running, journal.had_containers
    if journal.phase == "swapped":
        had_containers = services.have_containers()
        now = services.running()
        # Also those that ran and did not start any more: that may be why it is undone.
        running = tuple(dict.fromkeys((*now, *journal.running))) if now else ()
    if journal.phase != "undoing":
        journal = advance(
            stack.working_dir, journal, "undoing", running=running, had_containers=had_containers
        )
    pieces = Pieces(engine, stack, journal, services, receive)
    if journal.database is not None:
        services.start_database()
    services.stop(keep=services.undisturbed(journal.parts))
    pieces.swap_back()
    pieces.discard_restored()
    _start_again(stack, services, journal)


def finish_restore(
    engine: Engine,
    stack: Stack,
    journal: Journal,
    receive: Receiver = ignore,
    *,
    timeout_seconds: float,
) -> None:
    """Keep what was restored: drop what was there before, and the journal with it.

    The caller holds the project's lock. Raises OwctlError; then it can be called again.
    """
    check_same_engine(engine, stack, journal)
    if journal.phase not in ("swapped", "finishing"):
        raise OwctlError(
            f"The restore of {journal.backup_id} is not done yet (phase {journal.phase}).",
            hint="owctl restore resume, or owctl restore undo",
        )
    services = Services(engine, stack, receive, timeout_seconds)
    if journal.phase == "swapped":
        running, had_containers = services.running(), services.have_containers()
        # A run that was killed after the swap has not started them again.
        if idle := [name for name in journal.running if name not in running]:
            names = ", ".join(idle)
            receive(warning(f"Ran before the restore, and not now: {names} (owctl start)."))
        journal = advance(
            stack.working_dir, journal, "finishing", running=running, had_containers=had_containers
        )
    Pieces(engine, stack, journal, services, receive).discard_kept()
    services.back_to(journal.running, had_containers=journal.had_containers)
    remove_journal(stack.working_dir)


def _start_again(stack: Stack, services: Services, journal: Journal) -> None:
    """Start what ran before. The data is back by now, so a service that fails is only told."""
    try:
        services.start(journal.running)
    except OwctlError as error:
        remove_journal(stack.working_dir)
        raise type(error)(
            f"The data is as it was before the restore, but: {error.message}",
            hint=error.hint,
            details=error.details,
        ) from error
    with suppress(OwctlError):
        services.back_to(journal.running, had_containers=journal.had_containers)
    remove_journal(stack.working_dir)
