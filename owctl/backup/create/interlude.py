"""What a backup stops or starts for the while: who writes to the data, and what is needed running."""

import time
from collections.abc import Collection
from dataclasses import replace
from types import TracebackType
from typing import Self

from owctl.backup.create.interlude_record import (
    AT_WORK,
    Changed,
    Record,
    path_of,
    read_record,
    write_record,
)
from owctl.backup.inventory import Inventory
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import Container, list_containers
from owctl.engine.volumes import inspect_volume
from owctl.errors import Interrupted, OwctlError
from owctl.postgres.place import DatabasePlace, find_place, require_database
from owctl.progress import Event, Receiver, warning

# -- Which containers write to what a backup captures, and so stand still with ``--quiesce``.


def writers(stack: Stack, inventory: Inventory, parts: Collection[str]) -> list[Container]:
    """Return the containers at work that mount a captured volume, or depend on a captured store.

    PostgreSQL and Redis are not among them: a dump has its snapshot, and Redis writes its data out.
    """
    stores: set[str] = set()
    if "db" in parts and inventory.database_service is not None:
        stores.add(inventory.database_service)
    if "redis" in parts:
        stores |= inventory.redis_services
    captured = {source.name for source in inventory.volumes_of(parts)}
    staying = {inventory.database_service, *inventory.redis_services}
    above = _dependants(stack, stores)
    return [
        container
        for container in inventory.containers
        if container.state in AT_WORK
        and container.service not in staying
        and (container.service in above or _writes_to(container, captured))
    ]


def _writes_to(container: Container, captured: Collection[str]) -> bool:
    return any(mount.read_write and mount.name in captured for mount in container.mounts)


def _dependants(stack: Stack, stores: Collection[str]) -> set[str]:
    """Return the services that depend on others, directly or through services between."""
    found: set[str] = set()
    while True:
        more = {
            name
            for name, service in stack.services.items()
            if any(edge.service in {*stores, *found} for edge in service.depends_on)
        }
        if more <= found:
            return found
        found |= more


# -- The changes that a backup makes to a stack for a while: written down first, undone on every way out.


class Interlude:
    """A context manager: what was changed within the block is undone when it is left.

    ``failures`` collects why something could not be undone while all else went well;
    ``downtime_seconds`` is how long services stood still, None if none did.
    """

    def __init__(self, engine: Engine, stack: Stack, receive: Receiver) -> None:
        self.engine = engine
        # What was started with another profile is stopped and started as well.
        self.stack = stack.with_inactive()
        self.receive = receive
        self.failures: list[OwctlError] = []
        self.downtime_seconds: float | None = None
        self.quiesced: tuple[str, ...] = ()
        self.woken: tuple[str, ...] = ()
        self._halted_at = 0.0
        self._resumed = False
        self._settled = False
        self._record = Record(stack.project, engine.engine_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            self.resume()
        finally:
            self.settle()
        if error is not None:
            for failure in self.failures:
                self.receive(warning(failure.message))

    def wake(self, container: Container) -> None:
        """Start a container as it is, and wait until it answers."""
        from owctl.backup.create.interlude_record import carry_out
        from owctl.lifecycle.observed import observe
        from owctl.lifecycle.stop_plan import plan_resume

        changed = Changed(container.id, container.name, container.service)
        self._write(started=(*self._record.started, changed))
        self.woken += (container.service,)
        observed = observe(self.engine, self.stack, images=False)
        plan = plan_resume(self.stack, observed, [container])
        carry_out(self.engine, self.stack, plan, self.receive)

    def create(self, service: str) -> None:
        """Create a service's container and start it, and wait until it answers."""
        from owctl.backup.create.interlude_record import carry_out
        from owctl.lifecycle.run import prepare_start
        from owctl.lifecycle.start_plan import StartOptions

        # Alone: what it depends on is of no use to a dump.
        alone = replace(self.stack, services={service: self.stack.services[service]})
        plan = prepare_start(self.engine, alone, [service], StartOptions()).plan
        self._write(
            created=tuple(step.name for step in plan.steps if step.kind == "create" and step.name),
            networks=tuple(s.name for s in plan.steps if s.kind == "network" and s.name),
        )
        self.woken += (service,)
        carry_out(self.engine, alone, plan, self.receive)

    def quiesce(self, containers: list[Container]) -> None:
        """Stop containers, what depends on others first."""
        if not containers:
            return
        from owctl.backup.create.interlude_record import carry_out, stop_all
        from owctl.lifecycle.stop_plan import plan_halt

        stopped = tuple(
            Changed(each.id, each.name, each.service, awaited=each.is_running)
            for each in containers
        )
        self._write(stopped=stopped)
        self.quiesced = self._record.stopped_services
        self._halted_at = time.monotonic()
        ids, begun = {each.name: each.id for each in containers}, list[str]()

        def receive(event: Event) -> None:
            if event.state == "started":
                begun.append(ids[event.item])
            self.receive(event)

        try:
            carry_out(self.engine, self.stack, plan_halt(self.stack, containers), receive)
        except (KeyboardInterrupt, Interrupted):
            # A stop under way cannot be called back: a start before its end would be lost.
            stop_all(self.engine, self.stack, begun)
            raise

    def resume(self) -> None:
        """Start what was stopped; what fails is added to ``failures``, an interruption is raised."""
        stopped = self._record.stopped
        if not stopped or self._resumed:
            return
        from owctl.backup.create.interlude_record import resume, still_stopped

        self._resumed = True
        try:
            resume(self.engine, self.stack, stopped, self.receive)
        except Interrupted:
            raise
        except OwctlError as error:
            self.failures.append(error)
        finally:
            self.downtime_seconds = time.monotonic() - self._halted_at
            self._write_undone(stopped=still_stopped(self.engine, stopped))

    def settle(self) -> None:
        """Stop and remove what was started or created; failures are handled as in ``resume``."""
        record = self._record
        if self._settled or not (record.started or record.created or record.networks):
            return
        from owctl.backup.create.interlude_record import put_back

        self._settled = True
        try:
            put_back(self.engine, self.stack, record)
        except Interrupted:
            self._write_undone(started=(), created=(), networks=())
            raise
        except OwctlError as error:
            # The record stays: the next owctl tries again.
            self.failures.append(error)
            return
        self._write_undone(started=(), created=(), networks=())

    def _write(self, **changes: tuple[object, ...]) -> None:
        """Write down what is about to be changed; raises OwctlError."""
        if self._record.is_empty:
            self._check_no_other()
            running = [c.id for c in list_containers(self.engine, self.stack.project, all=False)]
            changes["running"] = tuple(running)
        self._record = replace(self._record, **changes)  # type: ignore[arg-type]
        write_record(self.stack.working_dir, self._record)

    def _write_undone(self, **changes: tuple[object, ...]) -> None:
        """Write down that it was undone; a record that stays is harmless, and says so."""
        self._record = replace(self._record, **changes)  # type: ignore[arg-type]
        try:
            write_record(self.stack.working_dir, self._record)
        except OwctlError as error:
            self.failures.append(error)

    def _check_no_other(self) -> None:
        other = read_record(self.stack.working_dir)
        if other is not None:
            path = path_of(self.stack.working_dir)
            raise OwctlError(
                f"A backup of the project {other.project} was interrupted while its services "
                f"stood still ({path}), and they are not of this project or this engine.",
                hint=f"owctl -p {other.project} start; or remove that file",
            )


# -- What a backup needs to run: a dump needs its database, and is all that needs anything.


_CAN_BE_STARTED = ("created", "exited")


def dormant_database(engine: Engine, inventory: Inventory) -> Container | str | None:
    """Return what a dump needs first: a container to start, or the service to make one of.

    None where the database runs, or is in a state of which the dump itself says what is wrong.
    Raises OwctlError if there is no database that could be started.
    """
    service = inventory.database_service
    containers = inventory.database_containers()
    if service is None or any(container.is_running for container in containers):
        return None
    if containers:
        return next((each for each in containers if each.state in _CAN_BE_STARTED), None)
    _check_data(engine, service, inventory)
    return service


def require_dump(stack: Stack, inventory: Inventory) -> str | None:
    """Raise OwctlError where there is no database that could be dumped, and say which it is.

    Returns what is to be said where the files name another one than the application uses now.
    """
    hint = "owctl backup --only files,redis,config"
    used = require_database(stack, "to back up", hint=hint, containers=inventory.containers)
    named = find_place(stack)
    if isinstance(named, DatabasePlace) and _identity(named) == _identity(used):
        return None
    return (
        f"The backend runs with another DATABASE_URL than the files give it: the backup has the "
        f"database {_identity(used)[1]} of {used.name}, which it uses now."
    )


def _identity(place: DatabasePlace) -> tuple[str, str]:
    return place.name, place.database or place.credentials.database


def wake_database(engine: Engine, inventory: Inventory, interlude: Interlude) -> bool:
    """Have the database run for the length of the interlude; return whether it had to be started.

    Raises OwctlError if there is no database that could be started.
    """
    dormant = dormant_database(engine, inventory)
    if isinstance(dormant, str):
        interlude.create(dormant)
    elif dormant is not None:
        interlude.wake(dormant)
    return dormant is not None


def check_something_exists(engine: Engine, stack: Stack, inventory: Inventory) -> None:
    """Raise OwctlError for a project that the engine has nothing of."""
    if not (inventory.containers or inventory.volumes or _data_exists(engine, inventory)):
        raise OwctlError(
            f"There is nothing of {stack.project} to back up: it has no containers and no volumes.",
            hint="owctl start; or -p NAME, if the project goes by another name",
        )


def _data_exists(engine: Engine, inventory: Inventory) -> bool:
    """Return whether the volumes of PostgreSQL's data folder exist, and there are any."""
    names = inventory.database_volumes
    return bool(names) and all(inspect_volume(engine, name) is not None for name in names)


def _check_data(engine: Engine, service: str, inventory: Inventory) -> None:
    """Refuse to create a container over no data: it would begin an empty database."""
    if _data_exists(engine, inventory):
        return
    names = ", ".join(sorted(inventory.database_volumes))
    raise OwctlError(
        f"There is no database to back up: {service} has no container, and "
        + (f"its volume {names} does not exist." if names else "keeps its data in no volume."),
        hint="owctl start, or owctl backup --only files,redis,config",
    )
