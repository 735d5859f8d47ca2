"""Which service is the application's database, and as whom it signs in there: decided here alone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from owctl.compose.model import Service, Stack
from owctl.compose.services import choose_probe
from owctl.errors import OwctlError

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
