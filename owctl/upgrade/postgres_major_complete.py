"""From new files beside the old ones to a stack that runs on them: also after an interruption."""

from dataclasses import dataclass, replace

from owctl.backup.members.database import wait_for_answer
from owctl.backup.psql import Server
from owctl.backup.restore.services import Services
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import list_containers, remove_container
from owctl.engine.execution import run
from owctl.engine.images import image_id
from owctl.engine.volumes import remove_volume
from owctl.errors import OwctlError
from owctl.project.upgrade_record import read_record, write_record
from owctl.upgrade.postgres_major_files import files_of
from owctl.upgrade.postgres_major_journal import Journal, advance
from owctl.upgrade.postgres_major_plan import kept_running

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
    wait_for_answer(engine, services.server().container, services.timeout_seconds)


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
