"""Healing: what a killed backup left stopped or running is set right by the next owctl."""

from owctl.backup.events import Receiver, ignore
from owctl.backup.interlude.record import Record, read_record, write_record
from owctl.backup.interlude.undo import put_back, resume
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import list_containers
from owctl.errors import EngineUnavailable, Interrupted, OwctlError

# What comes back comes back soon; the command that heals has work of its own.
_READY_SECONDS = 60.0


def heal(engine: Engine, stack: Stack, receive: Receiver = ignore) -> tuple[str, ...]:
    """Set right what a killed backup of this project left; return sentences that say what was done.

    The caller holds the project's lock. One try: what then does not work is said, and left to
    `owctl start`. Raises OwctlError where the record cannot be read or removed, or the engine does
    not answer; the record stays then.
    """
    record = read_record(stack.working_dir)
    if record is None or (record.project, record.engine_id) != (stack.project, engine.engine_id):
        return ()
    said: list[str] = []
    containers = list_containers(engine, stack.project)
    if record.started or record.created or record.networks:
        said += _put_back(engine, stack, record)
    existing = {container.id for container in containers}
    stopped = tuple(each for each in record.stopped if each.container_id in existing)
    if stopped:
        said += _resume(engine, stack, Record("", "", stopped=stopped), receive)
    write_record(stack.working_dir, Record(stack.project, engine.engine_id))
    return tuple(said)


def _resume(engine: Engine, stack: Stack, record: Record, receive: Receiver) -> list[str]:
    names = ", ".join(record.stopped_services)
    try:
        resume(engine, stack, record.stopped, receive, _READY_SECONDS)
    except (EngineUnavailable, Interrupted):
        raise
    except OwctlError as error:
        return [
            f"An interrupted backup had left {names} stopped, and not all is well again: "
            f"{error.message}"
        ]
    return [f"An interrupted backup had left {names} stopped; started again."]


def _put_back(engine: Engine, stack: Stack, record: Record) -> list[str]:
    known = {*record.running, *(c.container_id for c in (*record.started, *record.stopped))}
    others = [
        container.service
        for container in list_containers(engine, stack.project, all=False)
        if container.id not in known and container.name not in record.created
    ]
    if others:
        # Somebody has started the stack meanwhile, and needs what was started for the backup.
        return []
    put_back(engine, stack, record)
    names = ", ".join([*(each.name for each in record.started), *record.created])
    return [f"An interrupted backup had started {names}; stopped again."]
