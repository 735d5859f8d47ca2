"""What a probe has to know of a service: user, database, password.

They are taken from the running container (its environment and command are what the server was
started with), not from `.env`, which may have been edited since.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from owctl.compose.model import Service

if TYPE_CHECKING:
    from owctl.engine.containers import Container

_REDIS_PASSWORDS = ("REDIS_PASSWORD", "REDISCLI_AUTH", "VALKEY_PASSWORD")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def container_environment(service: Service, container: "Container") -> Mapping[str, str]:
    """Return the container's environment; the service's, for what the container doesn't tell."""
    declared = {name: value for name, value in service.environment.items() if value is not None}
    return container.environment or declared


def postgres_login(environment: Mapping[str, str]) -> tuple[str, str]:
    """Return user and database by the rules of the official image."""
    user = environment.get("POSTGRES_USER") or "postgres"
    return user, environment.get("POSTGRES_DB") or user


def redis_password(environment: Mapping[str, str], command: Sequence[str]) -> str | None:
    """Return the password of a Redis server, None if neither command nor environment has one.

    ``--requirepass`` of the command counts first: that is what the server was told.
    """
    for argument in command:
        # A shell's script is a single argument, with all of the server's words in it.
        words = _split(argument) if " " in argument else [argument]
        if "--requirepass" in words:
            following = [*words, *command[list(command).index(argument) + 1 :]]
            value = following[following.index("--requirepass") + 1 :][:1]
            return _expand(value[0], environment) if value and value[0] else None
    for name in _REDIS_PASSWORDS:
        if environment.get(name):
            return environment[name]
    return None


def command_of(service: Service, container: "Container") -> tuple[str, ...]:
    """Return the words that the container was started with."""
    config = container.raw.get("Config") or {}
    words = (*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ()))
    return words or (*(service.entrypoint or ()), *(service.command or ()))


def _split(script: str) -> list[str]:
    try:
        return shlex.split(script)
    except ValueError:
        return script.split()


def _expand(word: str, environment: Mapping[str, str]) -> str | None:
    """Replace a shell's variables; None where one is not set."""
    names = [first or second for first, second in _VARIABLE.findall(word)]
    if any(name not in environment for name in names):
        return None
    return _VARIABLE.sub(lambda match: environment[match[1] or match[2]], word)
