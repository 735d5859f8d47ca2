"""What a probe has to know: where a container's port can be reached, and with which user and password."""

import ipaddress
import re
import shlex
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from owctl.compose.model import Service
from owctl.engine.endpoint import is_loopback
from owctl.network import Deadline, connect

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container, PublishedPort


# -- Where a container's port can be reached from this machine.


_WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared, not bound


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a TCP port. ``machine`` names the one whose address it is, None for this one.

    ``through`` is a socket file of ours that leads there by ssh; None connects directly.
    """

    host: str
    port: int
    through: Path | None = None
    machine: str | None = None

    @property
    def authority(self) -> str:
        """The host and the port as they stand in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return self.authority + self.whose

    @property
    def whose(self) -> str:
        """`` on MACHINE`` for another machine's address, else nothing."""
        return f" on {self.machine}" if self.machine not in (None, self.host) else ""

    def connect(self, timeout_seconds: float) -> socket.socket:
        """Return a connected socket; raises OSError."""
        return connect(self.host, self.port, Deadline(timeout_seconds), self.through)


def find_address(
    engine: "Engine", container: "Container", port: int, *, openly: bool = False
) -> Address | None:
    """Return where ``port`` of the container answers, or None if it cannot be reached from here.

    The published port is preferred, then the container's own address. To an engine behind ssh
    everything goes through that connection, whatever the port is bound to. Of another engine
    elsewhere only what it publishes to everybody can be reached, and only ``openly``: without
    encryption, so for nothing that is secret. Raises EngineUnavailable where ssh fails.
    """
    endpoint = engine.endpoint
    binding = _published(container, port)
    if endpoint.is_local or endpoint.tunnel is not None:
        found = _seen_there(engine, container, port, binding)
        if found is None or endpoint.tunnel is None:
            return found
        through = endpoint.tunnel.port(found.host, found.port)
        return replace(found, through=through, machine=endpoint.machine)
    machine = endpoint.machine
    if not openly or binding is None or not machine or is_loopback(machine):
        return None
    if binding.host_ip not in _WILDCARDS:
        return None
    return Address(machine, binding.host_port, machine=machine)


def _seen_there(
    engine: "Engine", container: "Container", port: int, binding: "PublishedPort | None"
) -> Address | None:
    """Return where the port answers on the engine's own machine."""
    if binding is not None:
        return Address(_WILDCARDS.get(binding.host_ip, binding.host_ip), binding.host_port)
    if "host" in container.networks:
        return Address("127.0.0.1", port)
    own = _reachable_ip(engine, container)
    return Address(own, port) if own else None


def _published(container: "Container", port: int) -> "PublishedPort | None":
    found = [
        binding
        for binding in container.ports
        if binding.container_port == port and binding.protocol == "tcp" and binding.host_port
    ]
    return min(found, key=_is_ipv6) if found else None


def _is_ipv6(binding: "PublishedPort") -> bool:
    return ":" in binding.host_ip


def _reachable_ip(engine: "Engine", container: "Container") -> str | None:
    """Return the container's address on a network whose gateway is the engine's machine.

    With a rootless engine, or one in a virtual machine, the bridge is elsewhere: asking such an
    address would time out, or meet a stranger who has it on the local network.
    """
    networks = container.raw.get("NetworkSettings", {}).get("Networks") or {}
    for name, address in container.networks.items():
        gateway = (networks.get(name) or {}).get("Gateway") or ""
        if not address or not gateway:
            continue
        if _is_ours(gateway) if engine.endpoint.is_local else not engine.is_rootless:
            return address
    return None


def _is_ours(address: str) -> bool:
    """Whether this machine holds the address: only then can a socket be bound to it."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except (OSError, ValueError):
        return False
    return True


# -- What a probe has to know of a service: user, database, password.
# They are taken from the running container (its environment and command are what the server was
# started with), not from `.env`, which may have been edited since.


_REDIS_PASSWORDS = ("REDIS_PASSWORD", "REDISCLI_AUTH", "VALKEY_PASSWORD")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def container_environment(service: Service, container: "Container") -> Mapping[str, str]:
    """Return the container's environment; the service's, for what the container doesn't tell."""
    declared = {name: value for name, value in service.environment.items() if value is not None}
    return container.environment or declared


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
