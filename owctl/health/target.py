"""Where a container's port can be reached from this machine."""

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from owctl.engine.containers import Container, PublishedPort

_WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared, not bound


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def find_address(engine_host: str, container: "Container", port: int) -> Address | None:
    """Return where ``port`` of the container answers, or None if it cannot be reached from here.

    The published port is preferred, then the container's own address. Both count only with an
    engine behind a unix socket: another machine's published ports may be bound to its loopback.
    """
    if not engine_host.startswith("unix://"):
        return None
    published = [
        binding
        for binding in container.ports
        if binding.container_port == port and binding.protocol == "tcp" and binding.host_port
    ]
    if published:
        binding = min(published, key=_is_ipv6)
        return Address(_WILDCARDS.get(binding.host_ip, binding.host_ip), binding.host_port)
    if "host" in container.networks:
        return Address("127.0.0.1", port)
    own = _reachable_ip(container)
    return Address(own, port) if own else None


def _is_ipv6(binding: "PublishedPort") -> bool:
    return ":" in binding.host_ip


def _reachable_ip(container: "Container") -> str | None:
    """Return the container's address on a network whose gateway is this machine.

    With a rootless engine, or one in a virtual machine, the bridge is elsewhere: asking such an
    address would time out, or meet a stranger who has it on the local network.
    """
    networks = container.raw.get("NetworkSettings", {}).get("Networks") or {}
    for name, address in container.networks.items():
        gateway = (networks.get(name) or {}).get("Gateway") or ""
        if address and gateway and _is_ours(gateway):
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
