"""What was stopped or started for the while, on record, so that it is undone even after a kill."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import (
    Container,
    inspect_container,
    list_containers,
    remove_container,
    start_container,
    stop_container,
)
from owctl.engine.networks import remove_network
from owctl.errors import EngineError, EngineUnavailable, Interrupted, OwctlError
from owctl.lifecycle.actions import Actions, grace_seconds
from owctl.lifecycle.execute import execute
from owctl.lifecycle.observed import observe
from owctl.lifecycle.plan import Plan
from owctl.lifecycle.stop_plan import plan_resume
from owctl.progress import Receiver, ignore
from owctl.project.state import StateFile

# -- The record of what was changed for the while of a backup: written before it is changed.
# It is what a kill leaves: the next owctl that changes the project reads it and sets things right.


# The states of a container that may write.
AT_WORK = ("running", "restarting")


@dataclass(frozen=True, slots=True)
class Changed:
    """A container that was stopped or started for the while.

    ``awaited`` says that it is worth waiting for: one that kept restarting by itself is not.
    """

    container_id: str
    name: str
    service: str
    awaited: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """What a backup of a project on an engine changed.

    ``stopped`` are to run again, ``started`` to be stopped again, ``created`` (names of containers)
    and ``networks`` (names) to be removed. ``running`` are the ids of all the project's containers
    that ran before: whatever runs beyond them and the others was started by somebody else.
    """

    project: str
    engine_id: str
    running: tuple[str, ...] = ()
    stopped: tuple[Changed, ...] = ()
    started: tuple[Changed, ...] = ()
    created: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()

    @property
    def stopped_services(self) -> tuple[str, ...]:
        """Return the names of the services that stand still."""
        return tuple(dict.fromkeys(each.service for each in self.stopped))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to be set right."""
        return not (self.stopped or self.started or self.created or self.networks)


def _parse(document: Mapping[str, Any]) -> Record:
    return Record(
        project=document["project"],
        engine_id=document["engine_id"],
        running=tuple(document["running"]),
        stopped=tuple(Changed(**each) for each in document["stopped"]),
        started=tuple(Changed(**each) for each in document["started"]),
        created=tuple(document["created"]),
        networks=tuple(document["networks"]),
    )


_FILE = StateFile(
    "quiesced.json",
    parse=_parse,
    render=asdict,
    damaged="{path}, which tells what an interrupted backup stopped, cannot be read: {error}.",
    remedy="owctl start, then remove {path}",
    cannot="Cannot write down in {path} what is stopped for the backup",
)
path_of, read_record = _FILE.path, _FILE.read


def write_record(working_dir: Path, record: Record) -> None:
    """Put a record in place of an earlier one, durably; an empty one is removed.

    Raises OwctlError where the folder cannot be written.
    """
    if record.is_empty:
        _FILE.remove(working_dir)
    else:
        _FILE.write(working_dir, record)


# -- Setting right what was changed for a backup: every step may be repeated, and most may fail alone.


_T = TypeVar("_T")


def resume(
    engine: Engine,
    stack: Stack,
    stopped: Sequence[Changed],
    receive: Receiver,
    timeout_seconds: float = 300.0,
) -> None:
    """Start what was stopped, by dependency, and wait until it answers.

    Whatever happens meanwhile, each of the containers that still exists is started: also when the
    wait for one fails, or somebody interrupts. Raises OwctlError or the interruption then.
    """
    found = {each.container_id: inspect_container(engine, each.container_id) for each in stopped}
    containers = [container for container in found.values() if container is not None]
    awaited = {each.container_id for each in stopped if each.awaited}
    try:
        observed = observe(engine, stack, images=False)
        plan = plan_resume(stack, observed, [each for each in containers if each.id in awaited])
        carry_out(engine, stack, plan, receive, timeout_seconds)
    finally:
        # Those that nobody waits for, and those whose turn did not come.
        _insist(lambda each: _start(engine, each), containers)


def put_back(engine: Engine, stack: Stack, record: Record) -> None:
    """Stop what was started, and remove what was created; the data stays. Raises OwctlError."""
    created = [
        container
        for container in list_containers(engine, stack.project)
        if container.name in record.created
    ]

    def remove(container: Container) -> None:
        _stop(engine, stack, container.id)
        # With its anonymous volumes, which are as new as itself.
        remove_container(engine, container.id, force=True, volumes=True)

    try:
        stop_all(engine, stack, [each.container_id for each in record.started])
        _insist(remove, created)
    finally:
        _insist(lambda name: _remove_network(engine, name), record.networks)


def stop_all(engine: Engine, stack: Stack, container_ids: Iterable[str]) -> None:
    """Stop containers, one after the other, and see each of them stopped. Raises OwctlError."""
    _insist(lambda each: _stop(engine, stack, each), container_ids)


def still_stopped(engine: Engine, stopped: Sequence[Changed]) -> tuple[Changed, ...]:
    """Return those that exist and do not run, or that the engine says nothing of any more."""
    left = []
    for each in stopped:
        try:
            container = inspect_container(engine, each.container_id)
        except OwctlError:
            left.append(each)
            continue
        if container is not None and container.state not in AT_WORK:
            left.append(each)
    return tuple(left)


def carry_out(
    engine: Engine, stack: Stack, plan: Plan, receive: Receiver, timeout_seconds: float = 300.0
) -> None:
    """Run the steps of a plan; raises the first failure, and what was created is not left unused."""
    actions = Actions(engine, stack, plan, timeout_seconds=timeout_seconds)
    try:
        execute(plan, actions.perform, receive)
    except BaseException:
        actions.discard_unstarted()
        raise


def _stop(engine: Engine, stack: Stack, container_id: str) -> None:
    container = inspect_container(engine, container_id)
    if container is not None and container.state in AT_WORK:
        stop_container(engine, container.id, grace_seconds(stack.services.get(container.service)))


def _start(engine: Engine, container: Container) -> None:
    now = inspect_container(engine, container.id)
    if now is not None and now.state not in AT_WORK:
        start_container(engine, container.id, container.name)


def _remove_network(engine: Engine, name: str) -> None:
    try:
        remove_network(engine, name)
    except EngineError:
        # Somebody else uses it by now: then it is theirs.
        return


def _insist(action: Callable[[_T], None], items: Iterable[_T]) -> None:
    """Do the action with each item, over again where it is interrupted; then raise what came up."""
    pending: BaseException | None = None
    for item in items:
        while True:
            try:
                action(item)
                break
            except (KeyboardInterrupt, Interrupted) as interruption:
                pending = interruption
            except OwctlError as error:
                pending = pending or error
                break
    if pending is not None:
        raise pending


# -- Healing: what a killed backup left stopped or running is set right by the next owctl.


# What comes back comes back soon; the command that heals has work of its own.
_READY_SECONDS = 60.0


def heal(engine: Engine, stack: Stack, receive: Receiver = ignore) -> tuple[str, ...]:
    """Set right what a killed backup of this project left; return sentences that say what was done.

    The caller holds the project's lock. One try: what then does not work is said, and left to
    `owctl start`. Raises OwctlError where the record cannot be read or removed, or the engine does
    not answer; the record stays then.
    """
    stack = stack.with_inactive()
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
