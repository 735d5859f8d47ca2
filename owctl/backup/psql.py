"""One statement at a time, by the psql in the database's container."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from owctl.engine.connection import Engine
from owctl.engine.containers import Container
from owctl.engine.execution import run
from owctl.errors import OwctlError

# pg_dump and pg_restore may wait for locks; what is asked here answers at once or is in trouble.
_SECONDS = 600.0
_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class Server:
    """The PostgreSQL of a running container; ``environment`` are libpq's variables for it."""

    engine: Engine
    container: Container
    environment: Mapping[str, str] = field(repr=False)

    def ask(
        self, statements: str, *, database: str | None = None, **values: str
    ) -> list[list[str]]:
        """Run statements and return the rows they print, as text; the first error ends them.

        ``database`` None is the application's own. ``values`` are psql's variables: ``:"name"`` in
        the statements is a quoted identifier, ``:'name'`` a quoted text. Raises OwctlError with the
        words of the server.
        """
        argv = ["psql", "-X", "-q", "-A", "-t", "-w", "-F", _SEPARATOR, "-v", "ON_ERROR_STOP=1"]
        for name, value in values.items():
            argv += ["-v", f"{name}={value}"]
        environment = dict(self.environment)
        if database is not None:
            environment["PGDATABASE"] = database
        answer = run(
            self.engine,
            self.container.id,
            [*argv, "-f", "-"],
            environment=environment,
            stdin=statements.encode(),
            timeout_seconds=_SECONDS,
        )
        if answer.exit_code:
            lines = answer.stderr.decode("utf-8", "replace").splitlines()
            raise OwctlError(
                f"PostgreSQL in {self.container.name} refused what owctl asked of it.",
                hint=f"owctl logs {self.container.service}",
                details=lines[-5:],
            )
        text = answer.stdout.decode("utf-8", "replace")
        return [line.split(_SEPARATOR) for line in text.splitlines() if line]
