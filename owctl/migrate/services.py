"""The new stack's services around a migration: started, the backend halted, started again."""

from typing import TYPE_CHECKING

from owctl.backup.restore.events import RestoreEvent
from owctl.backup.restore.services import Services
from owctl.compose.model import Stack
from owctl.errors import OwctlError
from owctl.lifecycle.plan import StepEvent
from owctl.lifecycle.preflight import check_before_start
from owctl.lifecycle.run import prepare_start, run
from owctl.lifecycle.start_plan import StartOptions
from owctl.migrate.events import MigrationWarning, Receiver, StepProgress
from owctl.project.ownership import check_owner

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container


class StackServices:
    """The stack; ``timeout_seconds`` is for each service until it answers."""

    def __init__(
        self, engine: "Engine", stack: Stack, receive: Receiver, timeout_seconds: float
    ) -> None:
        self.engine = engine
        self.stack = stack
        self.receive = receive
        self.timeout_seconds = timeout_seconds

    def start(self, step: str) -> None:
        """Start every service and wait until it answers; what would go wrong is looked for first."""

        def receive(event: StepEvent) -> None:
            detail = f"{event.step.subject}: {event.detail or event.phase}"
            self.receive(StepProgress(step, "progress", detail))

        check_owner(self.engine, self.stack.project, self.stack.working_dir, adopt=False)
        names = list(self.stack.services)
        prepared = prepare_start(self.engine, self.stack, names, StartOptions())
        folder = self.stack.working_dir
        for found in check_before_start(self.engine, self.stack, prepared, folder, ()):
            self.receive(MigrationWarning(f"{found.detail}. {found.hint or ''}".strip()))
        run(self.engine, self.stack, prepared, receive, timeout_seconds=self.timeout_seconds)

    def halt(self, name: str) -> None:
        """Stop a service and keep its containers."""
        self._services("halt").stop(keep=[other for other in self.stack.services if other != name])

    def halt_all(self) -> None:
        """Stop every service and keep the containers."""
        self._services("rollback").stop()

    def container_of(self, name: str) -> "Container | None":
        """Return a service's first container, running or not."""
        from owctl.engine.containers import list_containers

        return next(iter(list_containers(self.engine, self.stack.project, services=[name])), None)

    def any_image(self) -> str:
        """Return the id of any image of the stack that is on this machine."""
        from owctl.engine.images import image_id

        for service in self.stack.services.values():
            found = image_id(self.engine, service.image_name(self.stack.project))
            if found is not None:
                return found
        raise OwctlError("None of the stack's images is on this machine.", hint="owctl start")

    def refuse_sqlite(self, backend: str) -> None:
        """Raise OwctlError if the backend keeps its data in a SQLite file beside PostgreSQL."""
        from owctl.doctor.data import check_data
        from owctl.doctor.situation import look

        for found in check_data(look(self.engine, self.stack)):
            if found.status == "warning" and f" of {backend} " in found.detail:
                raise OwctlError(
                    f"The new backend does not seem to use PostgreSQL: {found.detail}.",
                    hint=f"an image of {backend} that uses PostgreSQL; or, if the file is an old "
                    "one, move it out of the volume",
                )

    def _services(self, step: str) -> Services:
        def receive(event: RestoreEvent) -> None:
            if isinstance(event, StepEvent):
                detail = f"{event.step.subject}: {event.detail or event.phase}"
                self.receive(StepProgress(step, "progress", detail))

        return Services(self.engine, self.stack, receive, self.timeout_seconds)
