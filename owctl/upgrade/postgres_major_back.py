"""Back to the old PostgreSQL, or on without it: from any phase, again and again."""

from contextlib import suppress

from owctl.backup.restore.events import Receiver, RestoreProgress, ignore
from owctl.backup.restore.services import Services
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.one_off import remove_helpers
from owctl.engine.volumes import remove_volume
from owctl.errors import OwctlError
from owctl.upgrade.postgres_major_complete import remove_others
from owctl.upgrade.postgres_major_files import files_of
from owctl.upgrade.postgres_major_image import release_old_image
from owctl.upgrade.postgres_major_journal import Journal, advance, remove_journal
from owctl.upgrade.postgres_major_place import stack_with_image
from owctl.upgrade.postgres_major_plan import kept_running
from owctl.upgrade.postgres_major_server import PURPOSE


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
        receive(RestoreProgress("database", "working", "putting the old one back"))
        files_of(engine, stack, journal).put_back()
        remove_others(engine, stack, journal, journal.old_image)
    if journal.phase != "preparing":
        files_of(engine, stack, journal).discard()
    remove_volume(engine, journal.new_volume)
    receive(RestoreProgress("database", "done", f"PostgreSQL {journal.old_major}, as before"))
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
    receive(
        RestoreProgress("database", "working", f"dropping that of PostgreSQL {journal.old_major}")
    )
    files_of(engine, stack, journal).discard()
    remove_volume(engine, journal.new_volume)
    release_old_image(engine, journal)
    remove_journal(stack.working_dir)
    receive(RestoreProgress("database", "done", f"that of PostgreSQL {journal.old_major} dropped"))


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
