"""Setting right what was changed for a backup: every step may be repeated, and most may fail alone."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from owctl.backup.events import Receiver
from owctl.backup.interlude.record import AT_WORK, Changed, Record
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
from owctl.errors import EngineError, Interrupted, OwctlError
from owctl.lifecycle.actions import Actions, grace_seconds
from owctl.lifecycle.execute import execute
from owctl.lifecycle.observed import observe
from owctl.lifecycle.plan import Plan
from owctl.lifecycle.standstill_plan import plan_resume

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
