"""Makes the running database accept the password that ``.env`` has."""

from typing import TYPE_CHECKING, Literal

from owctl.errors import ConfigurationError, OwctlError
from owctl.project.database_login import (
    Credentials,
    credentials_of,
    declared_credentials,
    try_login,
)
from owctl.project.scram import make_verifier

if TYPE_CHECKING:
    from owctl.compose.model import Service, Stack
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container

Outcome = Literal["unchanged", "changed", "would change"]
_SECONDS = 30


def sync_password(
    engine: "Engine", stack: "Stack", service: "Service", *, dry_run: bool = False
) -> Outcome:
    """Give the database's user the declared password, and prove it by a login.

    The change is made over the container's local socket, as the user itself. Only a verifier is
    sent, on standard input: the password is in no argument list and in no log. Raises
    ConfigurationError (no password is declared), OwctlError (not running, refused), and the
    engine's errors.
    """
    credentials = declared_credentials(service)
    if credentials is None:
        raise ConfigurationError(
            f"{service.name} has no POSTGRES_PASSWORD to make its database accept.",
            hint="set POSTGRES_PASSWORD in .env, or run owctl setup",
        )
    container = _running(engine, stack, service)
    before = try_login(engine, container, credentials)
    if before.outcome == "accepted":
        return "unchanged"
    if before.outcome == "unknown":
        raise OwctlError(
            f"Cannot sign in to the database of {service.name}: {before.detail}",
            hint=f"owctl health {service.name}, then the same command again",
        )
    if dry_run:
        return "would change"
    _alter(engine, container, credentials)
    after = try_login(engine, container, credentials)
    if after.outcome != "accepted":
        raise OwctlError(
            f"The password of {credentials.user} was changed, but signing in with it still fails: "
            f"{after.detail}",
            hint="look at pg_hba.conf in the database's volume: it decides who may sign in, and how",
        )
    return "changed"


def _running(engine: "Engine", stack: "Stack", service: "Service") -> "Container":
    from owctl.engine.containers import list_containers

    found = list_containers(engine, stack.project, services=[service.name])
    for container in found:
        if container.is_running:
            return container
    state = f"is {found[0].state}" if found else "does not exist"
    raise OwctlError(
        f"Cannot change the database's password: the container of {service.name} {state}.",
        hint=f"owctl start {service.name}, then owctl setup --sync-password",
    )


def _alter(engine: "Engine", container: "Container", credentials: Credentials) -> None:
    from owctl.engine.execution import run

    user = credentials.user.replace('"', '""')
    statement = f"ALTER ROLE \"{user}\" PASSWORD '{make_verifier(credentials.password)}';\n"
    environment = {
        "PGUSER": credentials.user,
        # This one is always there; the declared one may not be yet.
        "PGDATABASE": "postgres",
        "PGCLIENTENCODING": "UTF8",
        "PGCONNECT_TIMEOUT": "5",
    }
    # For a pg_hba.conf that asks on the local socket, too: what the container was made with.
    made_with = credentials_of(container.environment)
    if made_with is not None:
        environment["PGPASSWORD"] = made_with.password
    answer = run(
        engine,
        container.id,
        ["psql", "-X", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-f", "-"],
        environment=environment,
        stdin=statement.encode(),
        timeout_seconds=_SECONDS,
    )
    if answer.exit_code == 0:
        return
    reason = " ".join(answer.stderr.decode("utf-8", "replace").split())
    raise _refusal(container, credentials, reason or f"psql ended with {answer.exit_code}")


def _refusal(container: "Container", credentials: Credentials, reason: str) -> OwctlError:
    if "password" in reason and "ALTER" not in reason:
        return OwctlError(
            f"Cannot change the password of {credentials.user}: the database asks for the old one "
            "even on its local socket, and the one that its container was made with is not it.",
            hint="put the old password back into .env; or change the password by hand: "
            f"owctl shell {container.service}",
            details=[reason],
        )
    if f'role "{credentials.user}" does not exist' in reason:
        return OwctlError(
            f"The database has no user {credentials.user}: it was made for another POSTGRES_USER.",
            hint="put the old POSTGRES_USER back into .env",
            details=[reason],
        )
    return OwctlError(
        f"Cannot change the password of {credentials.user} in the database.",
        hint=f"owctl logs {container.service}",
        details=[reason],
    )
