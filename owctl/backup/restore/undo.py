"""Back to what was there before a restore, and finishing it: from any phase, again and again."""

from contextlib import suppress

from owctl.backup.restore.events import Receiver, RestoreWarning, ignore
from owctl.backup.restore.journal import Journal, advance, remove_journal
from owctl.backup.restore.pieces import Pieces, check_same_engine
from owctl.backup.restore.services import Services
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.errors import OwctlError

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
            receive(RestoreWarning(f"Ran before the restore, and not now: {names} (owctl start)."))
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
