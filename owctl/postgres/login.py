"""Logins to the stack's PostgreSQL: which users there are, what a password's verifier is, and a password changed."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import stringprep
import unicodedata
from dataclasses import dataclass, replace
from typing import Literal

from owctl.compose.model import Service, Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import Container
from owctl.engine.execution import Execution
from owctl.errors import ConfigurationError, OwctlError
from owctl.postgres.place import Credentials, credentials_of, running_container
from owctl.postgres.psql import MAINTENANCE_DATABASE, Server, quoted_name

_LOGIN_SECONDS = 5
_REFUSED = ("password authentication failed", "no password supplied", "no pg_hba.conf entry")


@dataclass(frozen=True, slots=True)
class Login:
    """How a login ended; ``unknown``: it could not be tried. ``detail`` is the server's reason."""

    outcome: Literal["accepted", "refused", "unknown"]
    detail: str = ""


def users_of(stack: Stack, password: str) -> frozenset[str]:
    """Return the names of the services that sign in with the password, the database left out."""
    from urllib.parse import quote

    forms = {f":{password}@", f":{quote(password, safe='')}@"}
    return frozenset(
        name
        for name, service in stack.services.items()
        if not service.environment.get("POSTGRES_PASSWORD")
        and any(form in (value or "") for value in service.environment.values() for form in forms)
    )


def try_login(engine: Engine, container: Container, credentials: Credentials) -> Login:
    """Sign in to the database in a running container by TCP, as the other services do.

    The container's own address is used: the official image lets everybody in on 127.0.0.1.
    The password goes through the environment. Raises the engine's errors.
    """
    host = next((address for address in container.networks.values() if address), "127.0.0.1")
    variables = {**credentials.variables, "PGHOST": host, "PGCONNECT_TIMEOUT": "3"}
    server = Server(engine, container, variables)
    answer = server.run("SELECT 1;", timeout_seconds=_LOGIN_SECONDS)
    if answer.exit_code == 0:
        return Login("accepted")
    reason = _reason(answer)
    if "starting up" in reason or "Connection refused" in reason:
        return Login("unknown", "it does not take connections yet")
    if any(text in reason for text in _REFUSED):
        return Login("refused", reason)
    if "does not exist" in reason and "database" in reason.rpartition("FATAL:")[2]:
        # Signing in comes before the choice of the database: the backend makes it.
        return Login("accepted", reason)
    return Login("unknown", reason)


def _reason(answer: Execution) -> str:
    words = (answer.stderr or answer.stdout).decode("utf-8", "replace").split()
    return " ".join(words) or f"psql ended with {answer.exit_code}"


# -- What PostgreSQL stores in place of a password (RFC 5802, RFC 7677): made and compared here.
# A verifier that is made on this side keeps the password itself out of the server and its log.


ITERATIONS = 4096
_SALT_BYTES = 16
_VERIFIER = re.compile(r"SCRAM-SHA-256\$(\d{1,9}):([^$]+)\$([^:]+):(.+)")


def make_verifier(password: str) -> str:
    """Return a new SCRAM-SHA-256 verifier of a password, as ``ALTER ROLE … PASSWORD`` takes it."""
    salt = secrets.token_bytes(_SALT_BYTES)
    stored, server = _keys(password, salt, ITERATIONS)
    salt_text, stored_text, server_text = (
        base64.b64encode(part).decode("ascii") for part in (salt, stored, server)
    )
    return f"SCRAM-SHA-256${ITERATIONS}:{salt_text}${stored_text}:{server_text}"


def matches(verifier: str, user: str, password: str) -> bool | None:
    """Return whether a stored verifier is that of ``password``; None for a form not known here."""
    if verifier.startswith("md5") and len(verifier) == 35:
        digest = hashlib.md5((password + user).encode(), usedforsecurity=False).hexdigest()
        return hmac.compare_digest(verifier[3:], digest)
    found = _VERIFIER.fullmatch(verifier)
    if found is None:
        return None
    try:
        salt = base64.b64decode(found[2], validate=True)
        expected = base64.b64decode(found[3], validate=True)
    except binascii.Error:
        return None
    stored, _ = _keys(password, salt, int(found[1]))
    return hmac.compare_digest(stored, expected)


def _keys(password: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """Return StoredKey and ServerKey."""
    salted = hashlib.pbkdf2_hmac("sha256", _prepared(password), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256")


def _prepared(password: str) -> bytes:
    """Return the password by SASLprep; like PostgreSQL, as it is where SASLprep forbids it."""
    if password.isascii():
        return password.encode()
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in password
        if not stringprep.in_table_b1(character)
    )
    text = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    forbidden = (
        stringprep.in_table_a1,
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
    )
    if any(test(character) for character in text for test in forbidden) or not _direction_ok(text):
        return password.encode()
    return text.encode()


def _direction_ok(text: str) -> bool:
    if not any(stringprep.in_table_d1(character) for character in text):
        return True
    if any(stringprep.in_table_d2(character) for character in text):
        return False
    return stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])


# -- Makes the running database accept the password that ``.env`` has.


Outcome = Literal["unchanged", "changed", "would change"]
_SECONDS = 30


def sync_password(
    engine: Engine, stack: Stack, service: Service, *, dry_run: bool = False
) -> Outcome:
    """Give the database's user the declared password, and prove it by a login.

    The change is made over the container's local socket, as the user itself. Only a verifier is
    sent, on standard input: the password is in no argument list and in no log. Raises
    ConfigurationError (no password is declared), OwctlError (not running, refused), and the
    engine's errors.
    """
    credentials = credentials_of(service.environment)
    if not credentials.password:
        raise ConfigurationError(
            f"{service.name} has no POSTGRES_PASSWORD to make its database accept.",
            hint="set POSTGRES_PASSWORD in .env, or run owctl setup",
        )
    container = running_container(
        engine,
        stack,
        service.name,
        "Cannot change the database's password",
        hint=f"owctl start {service.name}, then owctl setup --sync-password",
    )
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


def _alter(engine: Engine, container: Container, credentials: Credentials) -> None:
    user, verifier = quoted_name(credentials.user), make_verifier(credentials.password)
    # For a pg_hba.conf that asks on the local socket, too: what the container was made with. Its
    # database may not be there yet; this one always is.
    made_with = credentials_of(container.environment)
    variables = replace(made_with, user=credentials.user, database="postgres").variables
    server = Server(engine, container, {**variables, "PGCONNECT_TIMEOUT": "5"})
    statement = f"ALTER ROLE {user} PASSWORD '{verifier}';\n"
    answer = server.run(statement, timeout_seconds=_SECONDS)
    if answer.exit_code:
        raise _refusal(container, credentials, _reason(answer))


# -- What a server may lack of the application's DATABASE_URL, and a role that stood in for another.


_HAS_ROLE = "SELECT 1 FROM pg_roles WHERE rolname = :'name';"
_HAND_OVER = """
REASSIGN OWNED BY :"role" TO CURRENT_USER; DROP OWNED BY :"role"; DROP ROLE :"role";
"""


def make_application_database(server: Server, login: Credentials | None) -> None:
    """Make the role of DATABASE_URL, with its password, and the server's database, if it lacks them.

    The database is empty, and belongs to the role. Raises OwctlError.
    """
    user = login.user if login is not None else ""
    if (
        login is not None
        and user
        and not server.ask(_HAS_ROLE, database=MAINTENANCE_DATABASE, name=user)
    ):
        # Only a verifier is sent, and on standard input.
        secret = f" PASSWORD '{make_verifier(login.password)}'" if login.password else ""
        role = f"CREATE ROLE {quoted_name(user)} LOGIN{secret};"
        server.ask(role, database=MAINTENANCE_DATABASE)
    name = server.environment["PGDATABASE"]
    if server.has_database():
        return
    owner = quoted_name(user) if user else "CURRENT_USER"
    statement = f'CREATE DATABASE :"name" OWNER {owner};'
    server.ask(statement, database=MAINTENANCE_DATABASE, name=name)


def hand_over(server: Server, role: str, database: str) -> None:
    """Give what a role has in a database to who is signed in, and drop the role; raises OwctlError."""
    server.ask(_HAND_OVER, database=database, role=role)


def _refusal(container: Container, credentials: Credentials, reason: str) -> OwctlError:
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
