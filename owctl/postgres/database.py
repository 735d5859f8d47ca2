"""The server of the stack's database while it runs: found, waited for, and how it is signed in to."""

import time

from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import Container, list_containers
from owctl.engine.execution import run
from owctl.errors import OwctlError, TimedOut
from owctl.postgres.place import credentials_of, require_database
from owctl.postgres.psql import Server

# The tables without which there is no Open WebUI in a database.
APPLICATION_TABLES = ("user", "chat")
_POLL_SECONDS = 0.1
_VARIABLES = ("POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD")


def find_server(engine: Engine, stack: Stack) -> Server:
    """Return the running server of the database; raises OwctlError if there is none."""
    hint = "owctl backup --only files,redis,config"
    place = require_database(stack, "to back up", hint=hint)
    container = running_container(engine, stack, place.name, "Cannot back up the database")
    return server_in(engine, container)


def server_in(engine: Engine, container: Container) -> Server:
    """Return the server in a running container, signed in to as the container was made for."""
    return Server(engine, container, connection_environment(engine, container))


def running_container(
    engine: Engine, stack: Stack, service: str, cannot: str, *, hint: str | None = None
) -> Container:
    """Return the database's running container; raises OwctlError that begins with ``cannot``."""
    containers = list_containers(engine, stack.project, services=[service])
    for container in containers:
        if container.is_running:
            return container
    state = f"is {containers[0].state}" if containers else "does not exist"
    raise OwctlError(
        f"{cannot}: the container of {service} {state}.", hint=hint or f"owctl start {service}"
    )


def wait_for_answer(server: Server, timeout_seconds: float = 300.0) -> None:
    """Wait until PostgreSQL takes sessions, asked within its container; raises TimedOut."""
    container = server.container
    deadline = time.monotonic() + timeout_seconds
    while run(server.engine, container.id, ["pg_isready", "-q"], timeout_seconds=30).exit_code:
        if time.monotonic() > deadline:
            raise TimedOut(
                f"PostgreSQL in {container.name} takes no sessions after {timeout_seconds:.0f} s.",
                hint=f"owctl logs {container.service}",
            )
        time.sleep(_POLL_SECONDS)


def connection_environment(engine: Engine, container: Container) -> dict[str, str]:
    """Return libpq's variables for the database that the container was made with."""
    given = {name: _variable(engine, container, name) for name in _VARIABLES}
    return {**credentials_of(given).variables, "PGCLIENTENCODING": "UTF8"}


def _variable(engine: Engine, container: Container, name: str) -> str | None:
    value = container.environment.get(name)
    path = container.environment.get(f"{name}_FILE")
    if value or not path:
        return value
    found = run(engine, container.id, ["cat", path], timeout_seconds=30)
    return found.stdout.decode("utf-8", "replace").strip() if found.exit_code == 0 else None
