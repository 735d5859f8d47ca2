"""Which service is the stack's database, which database in it is the application's, and how it is connected to."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from owctl.compose.model import Service, Stack
from owctl.compose.services import choose_probe
from owctl.engine.connection import Engine
from owctl.engine.containers import Container, list_containers
from owctl.engine.execution import run
from owctl.errors import OwctlError, TimedOut
from owctl.postgres.psql import Server

# -- Which service is the application's database, and as whom it signs in there: decided here alone.


_BACKEND_NAME = "rust-backend"
# A password may hold anything that this machine's own parsers of addresses stumble over.
_ADDRESS = re.compile(r"([a-z][a-z0-9]*)(?:\+\w+)?:(?://(?:.*@)?([^:/?#]*))?", re.I | re.S)
_SCHEMES = ("postgres", "postgresql")


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to sign in to a database; ``password`` is "" where none is known."""

    user: str
    database: str
    password: str = field(default="", repr=False)

    @property
    def variables(self) -> dict[str, str]:
        """The same as libpq's variables."""
        found = {"PGUSER": self.user, "PGDATABASE": self.database}
        return {**found, "PGPASSWORD": self.password} if self.password else found


@dataclass(frozen=True, slots=True)
class DatabasePlace:
    """The service that is the application's database, and what the compose files give it."""

    service: Service
    credentials: Credentials

    @property
    def name(self) -> str:
        """The service's name."""
        return self.service.name


def database_of(stack: Stack) -> DatabasePlace | None:
    """Return the application's database, None for a stack without a PostgreSQL.

    It is the service that the backend's DATABASE_URL names; where that names none of the stack's,
    the first that is a PostgreSQL.
    """
    services = [each for each in stack.services.values() if choose_probe(each).type == "postgres"]
    host = _named_host(stack)
    service = next((each for each in services if host in _names(each)), next(iter(services), None))
    return None if service is None else DatabasePlace(service, credentials_of(service.environment))


def require_database(stack: Stack, purpose: str, *, hint: str) -> DatabasePlace:
    """Return the application's database; raises OwctlError, which says what it was wanted for."""
    place = database_of(stack)
    if place is None:
        what = " ".join(("The stack has no PostgreSQL service", *purpose.split()))
        raise OwctlError(f"{what}.", hint=hint)
    return place


def backend_of(stack: Stack) -> Service | None:
    """Return the service that owns the database's tables, None if the stack has none."""
    services = [s for s in stack.services.values() if s.environment.get("DATABASE_URL")]
    for fits in (
        lambda service: service.name == _BACKEND_NAME,
        lambda service: _BACKEND_NAME in (service.image or ""),
        lambda service: "UPLOAD_DIR" in service.environment,
    ):
        for service in services:
            if fits(service):
                return service
    return stack.services.get(_BACKEND_NAME)


def credentials_of(environment: Mapping[str, str | None]) -> Credentials:
    """Return user, database and password by the rules of the official image."""
    user = environment.get("POSTGRES_USER") or "postgres"
    database = environment.get("POSTGRES_DB") or user
    return Credentials(user, database, environment.get("POSTGRES_PASSWORD") or "")


def address_of(url: str) -> tuple[str, str]:
    """Return scheme (without a driver) and host of a DATABASE_URL, "" for what it does not have."""
    found = _ADDRESS.match(url)
    return (found[1].lower(), found[2] or "") if found else ("", "")


def is_postgres(scheme: str) -> bool:
    """Return whether a DATABASE_URL of that scheme is one of PostgreSQL."""
    return scheme in _SCHEMES


def _named_host(stack: Stack) -> str | None:
    backend = backend_of(stack)
    url = backend.environment.get("DATABASE_URL") if backend else None
    scheme, host = address_of(url or "")
    return host if host and is_postgres(scheme) else None


def _names(service: Service) -> set[str | None]:
    """Return what a service is called in its networks."""
    aliases = {alias for each in service.attachments for alias in each.aliases}
    return {service.name, service.container_name or service.name, *aliases}


# -- The server of the stack's database while it runs: found, waited for, and how it is signed in to.


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
