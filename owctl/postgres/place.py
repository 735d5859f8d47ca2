"""Which service is the stack's database, which database in it is the application's, and how it is connected to."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from owctl.compose.model import Service, Stack
from owctl.compose.services import choose_probe
from owctl.engine.connection import Engine
from owctl.engine.containers import Container, list_containers
from owctl.engine.execution import run
from owctl.errors import OwctlError, TimedOut
from owctl.postgres.psql import Server

# -- What a DATABASE_URL says.


# A password may hold anything that this machine's own parsers of addresses stumble over.
_ADDRESS = re.compile(
    r"([a-z][a-z0-9]*)(?:\+\w+)?:(?://(?:(.*)@)?([^/?#]*)(?:/([^?#]*))?(?:\?([^#]*))?)?",
    re.I | re.S,
)
_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(?::(\d*))?")
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
class DatabaseUrl:
    """A DATABASE_URL taken apart, without its driver: "" for what it does not have."""

    scheme: str = ""
    host: str = ""
    port: str = ""
    login: Credentials = Credentials("", "")

    @property
    def is_postgres(self) -> bool:
        """Whether it is one of PostgreSQL."""
        return is_postgres(self.scheme)


def parse_url(url: str) -> DatabaseUrl:
    """Take a DATABASE_URL apart; of several servers the first counts, and nothing stays encoded."""
    found = _ADDRESS.match(url)
    if found is None:
        return DatabaseUrl()
    scheme, who, servers, path, query = (each or "" for each in found.groups())
    user, _, password = who.partition(":")
    place = _HOST.match(servers.partition(",")[0])
    host, port = (place[1].strip("[]"), place[2] or "") if place else ("", "")
    more = dict(parse_qsl(query))
    user = more.get("user") or unquote(user)
    login = Credentials(
        user,
        more.get("dbname") or unquote(path) or user,
        more.get("password") or unquote(password),
    )
    host = more.get("host") or more.get("hostaddr") or unquote(host)
    return DatabaseUrl(scheme.lower(), host, more.get("port") or port, login)


def address_of(url: str) -> tuple[str, str]:
    """Return scheme (without a driver) and host of a DATABASE_URL, "" for what it does not have."""
    found = parse_url(url)
    return found.scheme, found.host


def is_postgres(scheme: str) -> bool:
    """Return whether a DATABASE_URL of that scheme is one of PostgreSQL."""
    return scheme in _SCHEMES


# -- Which service is the application's database, and as whom it signs in there: decided here alone.


_BACKEND_NAME = "rust-backend"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_GATEWAYS = ("host.docker.internal", "host.containers.internal", "gateway.docker.internal")
# What tells a PostgreSQL of an image that is not known by its name.
_SERVER_VARIABLES = {
    "POSTGRES_PASSWORD",
    "POSTGRES_PASSWORD_FILE",
    "POSTGRES_HOST_AUTH_METHOD",
    "PGDATA",
}
_POOLERS_SERVER = re.compile(r"(DB|DATABASE|POSTGRES|POSTGRESQL|PG)_?HOST(NAME)?", re.I)


@dataclass(frozen=True, slots=True)
class DatabasePlace:
    """The service that is the application's database, and what the compose files give it.

    ``credentials`` are those that the server is made with; ``login`` is how the application signs
    in, by its DATABASE_URL, at ``host``; None where that does not say.
    """

    service: Service
    credentials: Credentials
    login: Credentials | None = None
    host: str = ""

    @property
    def name(self) -> str:
        """The service's name."""
        return self.service.name

    @property
    def database(self) -> str | None:
        """The name of the application's database; None is the one that the server was made with."""
        return (self.login.database if self.login is not None else None) or None

    @property
    def database_name(self) -> str:
        """The name of the application's database, as far as the files give it."""
        return self.database or self.credentials.database


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A database outside of the stack: ``backend`` is the service whose DATABASE_URL names it."""

    host: str
    backend: str


def find_place(
    stack: Stack, containers: Sequence[Container] = ()
) -> DatabasePlace | Elsewhere | None:
    """Return where the application's database is, None for a stack without a PostgreSQL.

    The backend's DATABASE_URL decides: that of its container, as far as ``containers`` has it, else
    that of the files. Where it names none, it is the first service that is a PostgreSQL. Services of
    inactive profiles count.
    """
    whole = stack.with_inactive()
    servers = [each for each in whole.services.values() if choose_probe(each).type == "postgres"]
    first = next(iter(servers), None)
    backend = backend_of(whole)
    url = _url_in_use(backend, containers)
    if backend is None or not url.is_postgres:
        return None if first is None else DatabasePlace(first, credentials_of(first.environment))
    named = _Names(whole, backend, containers)
    service = named.service(url.host, url.port)
    if service is not None and servers and not _is_server(service):
        behind = _behind(service, servers, named)
        if isinstance(behind, str):
            return Elsewhere(behind, backend.name)
        service = behind
    if service is None and not (url.host and named.is_reachable(url.host)):
        service = first
    if service is None:
        return Elsewhere(url.host, backend.name) if url.host else None
    return DatabasePlace(service, credentials_of(service.environment), url.login, url.host)


def database_of(stack: Stack, containers: Sequence[Container] = ()) -> DatabasePlace | None:
    """Return the application's database where an active service is that, else None."""
    found = find_place(stack, containers)
    is_here = isinstance(found, DatabasePlace) and found.name in stack.services
    return found if isinstance(found, DatabasePlace) and is_here else None


def require_database(
    stack: Stack, purpose: str, *, hint: str, containers: Sequence[Container] = ()
) -> DatabasePlace:
    """Return the application's database; raises OwctlError, which says what it was wanted for."""
    found = find_place(stack, containers)
    if isinstance(found, Elsewhere):
        what = " ".join(("There is no database here", *purpose.split()))
        raise OwctlError(
            f"{what}: DATABASE_URL of {found.backend} names {found.host}, which is no service of "
            "this stack.",
            hint=hint,
        )
    if found is None:
        what = " ".join(("The stack has no PostgreSQL service", *purpose.split()))
        raise OwctlError(f"{what}.", hint=hint)
    if found.name not in stack.services:
        profile = next(iter(found.service.spec.get("profiles", ())), "NAME")
        what = " ".join(("There is no active PostgreSQL service", *purpose.split()))
        raise OwctlError(
            f"{what}: {found.name} is of the profile {profile}, which is not active.",
            hint=f"the same command with the profile: owctl --profile {profile} …; or "
            f"COMPOSE_PROFILES={profile} in .env",
        )
    return found


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


def _url_in_use(backend: Service | None, containers: Sequence[Container]) -> DatabaseUrl:
    if backend is None:
        return DatabaseUrl()
    mine = [each for each in containers if each.service == backend.name]
    environments = [each.environment for each in sorted(mine, key=lambda c: not c.is_running)]
    values = [each.get("DATABASE_URL") for each in (*environments, backend.environment)]
    return parse_url(next((value for value in values if value), ""))


def _is_server(service: Service) -> bool:
    kind = choose_probe(service).type
    known = kind == "postgres" or service.probe is not None
    return kind == "postgres" if known else bool(_SERVER_VARIABLES & service.environment.keys())


def _behind(pooler: Service, servers: Sequence[Service], named: "_Names") -> Service | str:
    """Return the server that a pooler passes on to; the name of one that is none of the stack's."""
    for name, value in pooler.environment.items():
        url = parse_url(value or "")
        host = url.host if url.is_postgres else _POOLERS_SERVER.fullmatch(name) and value
        if host:
            found = named.service(host, url.port)
            return found if found is not None else host
    above = {edge.service for edge in pooler.depends_on}
    return next((each for each in servers if each.name in above), servers[0])


class _Names:
    """What the backend reaches the services by."""

    def __init__(self, stack: Stack, backend: Service, containers: Sequence[Container]) -> None:
        self.stack = stack
        self.backend = backend
        self.containers = containers

    def service(self, host: str, port: str) -> Service | None:
        """Return the service that is meant, None if it is none of the stack's."""
        host, services = host.rstrip(".").lower(), self.stack.services.values()
        if host in _LOOPBACK or host in _GATEWAYS:
            return self._beside(host, port or "5432")
        return next((each for each in services if self._is_called(each, host)), None)

    def is_reachable(self, host: str) -> bool:
        """Return whether there can be a server of that name at all: not in a container alone."""
        by_itself = host.startswith("/") or host.lower() in _LOOPBACK
        return not by_itself or self.backend.network_mode == "host"

    def _beside(self, host: str, port: str) -> Service | None:
        """Return who answers in the backend's own network, or is published on its host."""
        mode, services = self.backend.network_mode or "", self.stack.services
        if mode == "host" or host in _GATEWAYS:
            ports = {name: {p.published for p in each.ports} for name, each in services.items()}
            return next((services[name] for name, each in ports.items() if port in each), None)
        if mode.startswith("service:"):
            return services.get(mode.partition(":")[2])
        inside = f"service:{self.backend.name}"
        return next((each for each in services.values() if each.network_mode == inside), None)

    def _is_called(self, service: Service, host: str) -> bool:
        mine = [each for each in self.containers if each.service == service.name]
        names = {service.name, service.container_name, service.hostname, *(c.name for c in mine)}
        networks, addresses = set[str](), {each for c in mine for each in c.networks.values()}
        for attachment in service.attachments:
            names |= set(attachment.aliases)
            addresses |= {attachment.ipv4_address or "", attachment.ipv6_address or ""}
            if attachment.network in self.stack.networks:
                networks.add(self.stack.networks[attachment.network].name)
        known = {name.lower() for name in names if name}
        known |= {f"{name}.{network}".lower() for name in known for network in networks}
        made = rf"{re.escape(self.stack.project)}[-_]{re.escape(service.name)}[-_]\d+"
        return host in known | addresses or re.fullmatch(made, host, re.I) is not None


# -- The server of the stack's database while it runs: found, waited for, and how it is signed in to.


# The tables without which there is no Open WebUI in a database.
APPLICATION_TABLES = ("user", "chat")
_POLL_SECONDS = 0.1
_VARIABLES = ("POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD")


def find_server(engine: Engine, stack: Stack) -> Server:
    """Return the running server of the database; raises OwctlError if there is none."""
    return find_database(
        engine,
        stack,
        "to back up",
        cannot="Cannot back up the database",
        hint="owctl backup --only files,redis,config",
    )


def find_database(engine: Engine, stack: Stack, purpose: str, *, cannot: str, hint: str) -> Server:
    """Return the application's database on its running server; raises OwctlError.

    ``hint`` is for a stack that has none, ``cannot`` begins the sentence of a server that is down.
    """
    containers = list_containers(engine, stack.project)
    place = require_database(stack, purpose, hint=hint, containers=containers)
    meant = next((each for each in containers if each.name == place.host), None)
    if meant is None or not meant.is_running:
        meant = running_container(engine, stack, place.name, cannot)
    return server_in(engine, meant, place.database)


def server_in(engine: Engine, container: Container, database: str | None = None) -> Server:
    """Return the server in a running container, signed in to as the one that it was made for.

    ``database`` None is the one that it was made with.
    """
    return Server(engine, container, connection_environment(engine, container, database))


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


def connection_environment(
    engine: Engine, container: Container, database: str | None = None
) -> dict[str, str]:
    """Return libpq's variables for a database, by default the one that the container was made with."""
    given = {name: _variable(engine, container, name) for name in _VARIABLES}
    found = {**credentials_of(given).variables, "PGCLIENTENCODING": "UTF8"}
    return found if database is None else {**found, "PGDATABASE": database}


def _variable(engine: Engine, container: Container, name: str) -> str | None:
    value = container.environment.get(name)
    path = container.environment.get(f"{name}_FILE")
    if value or not path:
        return value
    found = run(engine, container.id, ["cat", path], timeout_seconds=30)
    return found.stdout.decode("utf-8", "replace").strip() if found.exit_code == 0 else None
