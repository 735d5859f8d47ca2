"""The stack's PostgreSQL: which service it is, with what it is used, and a real login to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from owctl.compose.model import Service, Stack
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container

LOGIN_SECONDS = 5
_REFUSED = ("password authentication failed", "no password supplied", "no pg_hba.conf entry")


@dataclass(frozen=True, slots=True)
class Credentials:
    """How the stack's services sign in. ``password`` is never empty."""

    user: str
    database: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """How a login ended; ``unknown``: it could not be tried. ``detail`` is the server's reason."""

    outcome: Literal["accepted", "refused", "unknown"]
    detail: str = ""


def declared_credentials(service: "Service") -> Credentials | None:
    """Return what the compose files give the database; None without a password there."""
    return credentials_of(service.environment)


def credentials_of(environment: Mapping[str, str | None]) -> Credentials | None:
    """Return user, database and password by the official image's rules, None without one."""
    password = environment.get("POSTGRES_PASSWORD")
    if not password:
        return None
    user = environment.get("POSTGRES_USER") or "postgres"
    return Credentials(user, environment.get("POSTGRES_DB") or user, password)


def users_of(stack: "Stack", password: str) -> frozenset[str]:
    """Return the names of the services that sign in with the password, the database left out."""
    from urllib.parse import quote

    forms = {f":{password}@", f":{quote(password, safe='')}@"}
    return frozenset(
        name
        for name, service in stack.services.items()
        if not service.environment.get("POSTGRES_PASSWORD")
        and any(form in (value or "") for value in service.environment.values() for form in forms)
    )


def try_login(engine: "Engine", container: "Container", credentials: Credentials) -> Login:
    """Sign in to the database in a running container by TCP, as the other services do.

    The container's own address is used: the official image lets everybody in on 127.0.0.1.
    The password goes through the environment. Raises the engine's errors.
    """
    from owctl.engine.execution import run

    host = next((address for address in container.networks.values() if address), "127.0.0.1")
    answer = run(
        engine,
        container.id,
        ["psql", "-X", "-w", "-A", "-t", "-c", "SELECT 1"],
        environment={
            "PGHOST": host,
            "PGUSER": credentials.user,
            "PGDATABASE": credentials.database,
            "PGPASSWORD": credentials.password,
            "PGCONNECT_TIMEOUT": "3",
            "PGCLIENTENCODING": "UTF8",
        },
        timeout_seconds=LOGIN_SECONDS,
    )
    if answer.exit_code == 0:
        return Login("accepted")
    words = (answer.stderr or answer.stdout).decode("utf-8", "replace").split()
    reason = " ".join(words) or f"psql ended with {answer.exit_code}"
    if "starting up" in reason or "Connection refused" in reason:
        return Login("unknown", "it does not take connections yet")
    if any(text in reason for text in _REFUSED):
        return Login("refused", reason)
    if "does not exist" in reason and "database" in reason.rpartition("FATAL:")[2]:
        # Signing in comes before the choice of the database: the backend makes it.
        return Login("accepted", reason)
    return Login("unknown", reason)
