"""The services around a restore: which run, stopping those that use the data, starting them again."""

from collections.abc import Collection
from dataclasses import replace

from owctl.compose.model import Stack
from owctl.compose.services import choose_probe
from owctl.engine.connection import Engine
from owctl.engine.containers import Usage, list_containers, list_usage
from owctl.engine.images import inspect_image
from owctl.errors import Interrupted, OwctlError
from owctl.lifecycle.observed import observe
from owctl.lifecycle.plan import Plan
from owctl.lifecycle.run import Prepared, prepare_stop, run
from owctl.lifecycle.start_plan import Scale, StartOptions, plan_start
from owctl.lifecycle.stop_plan import AT_WORK
from owctl.postgres.place import DatabasePlace, database_of, find_server, require_database
from owctl.postgres.psql import Server
from owctl.progress import Receiver


class Services:
    """The stack's services, those of inactive profiles too as far as they have containers.

    ``timeout_seconds`` is for each until it answers.
    """

    def __init__(
        self,
        engine: Engine,
        stack: Stack,
        receive: Receiver,
        timeout_seconds: float,
    ) -> None:
        self.engine = engine
        self.stack = stack
        self.receive = receive
        self.timeout_seconds = timeout_seconds

    @property
    def database(self) -> str | None:
        """The name of the PostgreSQL service, None for a stack without one."""
        place = self.place
        return place.name if place is not None else None

    @property
    def place(self) -> DatabasePlace | None:
        """The application's database, None for a stack without one."""
        return database_of(self.stack, list_containers(self.engine, self.stack.project))

    def require_place(self) -> DatabasePlace:
        """Return the application's database; raises OwctlError for a stack without one."""
        return require_database(
            self.stack,
            "to restore the database into",
            hint="owctl restore BACKUP --only files",
            containers=list_containers(self.engine, self.stack.project),
        )

    def of_kind(self, kind: str) -> tuple[str, ...]:
        """Return the services that are asked by a probe of that kind."""
        services = self.stack.with_inactive().services.items()
        return tuple(name for name, each in services if choose_probe(each).type == kind)

    def running(self) -> tuple[str, ...]:
        """Return the names of the services that run, in the order of the files."""
        containers = list_containers(self.engine, self.stack.project)
        at_work = {each.service for each in containers if each.state in AT_WORK}
        return tuple(name for name in self.stack.with_inactive().services if name in at_work)

    def undisturbed(self, parts: Collection[str], volumes: Collection[str] = ()) -> set[str]:
        """Return the services that go on running while these parts of the data are swapped.

        ``volumes`` are the names of those that are swapped: who mounts one does not go on.
        """
        if not {"db", "files", "redis"} & set(parts):
            return set(self.stack.with_inactive().services)
        keep = {self.database} if self.database is not None else set()
        keep = keep if "redis" in parts else {*keep, *self.of_kind("redis")}
        return keep - {each.service for each in self._users(volumes)}

    def others_at_work(self, volumes: Collection[str]) -> list[Usage]:
        """Return the running containers that mount a volume and belong to no service of the files.

        Those of this project have its name as their ``project``.
        """
        known = self.stack.with_inactive().services
        return [
            each
            for each in self._users(volumes)
            if each.project != self.stack.project or each.is_oneoff or each.service not in known
        ]

    def _users(self, volumes: Collection[str]) -> list[Usage]:
        wanted = set(volumes)
        found = list_usage(self.engine) if wanted else []
        return [each for each in found if each.needs_stop and wanted & set(each.volumes)]

    def _present(self) -> Stack:
        """Return the stack with those services of inactive profiles that have a container."""
        there = {each.service for each in list_containers(self.engine, self.stack.project)}
        whole, active = self.stack.with_inactive(), self.stack.services
        services = {n: each for n, each in whole.services.items() if n in active or n in there}
        return replace(whole, services=services)

    def have_containers(self) -> bool:
        """Return whether the stack has any container, running or not."""
        return bool(list_containers(self.engine, self.stack.project))

    def stop(self, *, keep: Collection[str] = ()) -> None:
        """Stop what runs, but for ``keep``; the containers stay, as far as they stay stopped.

        One that the engine starts again by itself after a restart of its own is removed; or loses
        that policy till ``start``, where its data is in a volume without a name.
        """
        names = [name for name in self.running() if name not in keep]
        prepared = prepare_stop(self.engine, self._present(), names)
        always = {c.id for c in prepared.observed.containers if c.restart_policy == "always"}
        at_work = {c.id for c in prepared.observed.containers if c.state in AT_WORK}
        wanted = {"stop": at_work, "remove": always, "keep": always}
        steps = [s for s in prepared.plan.steps if s.container_id in wanted.get(s.kind, ())]
        kept = {step.key for step in steps}
        plan = Plan(tuple(replace(step, requires=step.requires & kept) for step in steps))
        self._run(Prepared(plan, prepared.observed))

    def start(self, names: Collection[str]) -> None:
        """Start services with what they depend on, and wait until they answer.

        Containers that are there are started as they are, as many as there are.
        """
        if names:
            self._run(self._prepare_start(names))

    def fetch_images(self, names: Collection[str]) -> None:
        """Pull or build the images that ``start`` of these services would; raises ImageMissing, OwctlError."""
        prepared = self._prepare_start(names)
        for step in prepared.plan.steps:
            if step.kind not in ("pull", "build"):
                continue
            try:
                self._run(Prepared(Plan((step,)), prepared.observed))
            except Interrupted:
                raise
            except OwctlError as error:
                held = prepared.observed.of(step.service or "")
                hints = [error.hint or "owctl start, which shows what is wrong"]
                if held and inspect_image(self.engine, held[0].image_id) is not None:
                    tag = f"docker tag {held[0].image_id} {step.name}"
                    hints.insert(0, f"{tag}, as its container has that image")
                raise type(error)(
                    f"{step.service} could not be started again: {error.message}",
                    hint="; or ".join(hints),
                    details=error.details,
                ) from error

    def _prepare_start(self, names: Collection[str]) -> Prepared:
        stack = self._present()
        observed = observe(self.engine, stack)
        scale = Scale({name: len(observed.of(name)) or 1 for name in names})
        ordered = [name for name in stack.services if name in names]
        options = StartOptions(scale=scale)
        plan = plan_start(stack, observed, ordered, options, lambda *_: ())
        return Prepared(plan, observed)

    def remove_all(self) -> None:
        """Remove every container and network of the stack: as it was before its first start."""
        stack = self._present()
        self._run(prepare_stop(self.engine, stack, list(stack.services)))

    def server(self) -> Server:
        """Return the running PostgreSQL; raises OwctlError if it does not run."""
        return find_server(self.engine, self.stack)

    def server_if_running(self) -> Server | None:
        """Return the running PostgreSQL, None if it does not run."""
        return self.server() if self.database in self.running() else None

    def start_database(self) -> Server:
        """Return PostgreSQL, which is started if it does not run; raises OwctlError."""
        name = self.require_place().name
        if name not in self.running():
            self.start([name])
        return self.server()

    def back_to(self, running: Collection[str], *, had_containers: bool = True) -> None:
        """Stop what was started meanwhile: what is not in ``running``."""
        if not running and not had_containers:
            self.remove_all()
        elif set(self.running()) - set(running):
            self.stop(keep=running)

    def _run(self, prepared: Prepared) -> None:
        stack = self.stack.with_inactive()
        run(self.engine, stack, prepared, self.receive, timeout_seconds=self.timeout_seconds)
