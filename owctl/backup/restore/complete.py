"""From what is staged to what runs: the swap, also an interrupted one, and the services again."""

from owctl.backup.restore.events import Receiver
from owctl.backup.restore.journal import Journal, advance
from owctl.backup.restore.pieces import Pieces, check_same_engine
from owctl.backup.restore.services import Services
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.errors import OwctlError


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
