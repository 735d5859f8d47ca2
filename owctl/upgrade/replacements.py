"""Which containers are replaced, in which order, and whether anybody notices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from owctl.compose.model import Mount, Service, Stack
from owctl.engine.containers import Container
from owctl.lifecycle.scale import host_ports

Mode = Literal["beside", "in place"]
# What serves requests, and keeps its data elsewhere, may run twice for a moment.
_SERVING = ("http", "socketio")


@dataclass(frozen=True, slots=True)
class Replacement:
    """One container that gets a successor.

    "beside": the successor is ready before the old one is stopped. "in place": the old one is
    stopped first. ``gap`` says why nobody answers for the service meanwhile; "" if somebody does.
    """

    service: str
    number: int
    name: str
    container_id: str
    mode: Mode
    gap: str = ""


def plan_replacements(
    stack: Stack, containers: Mapping[str, Sequence[Container]], names: Sequence[str]
) -> tuple[Replacement, ...]:
    """Return how the containers of the named services are replaced, one after the other.

    ``containers`` are all of a service's that count, by service: those that stay as they are serve
    on meanwhile. ``names`` are in the order in which it is done.
    """
    return tuple(
        _replacement(stack.services[name], container, len(containers[name]))
        for name in names
        for container in containers[name]
    )


def _replacement(service: Service, container: Container, count: int) -> Replacement:
    obstacle = _why_not_beside(service, count)
    return Replacement(
        service=service.name,
        number=container.number,
        name=container.name,
        container_id=container.id,
        mode="in place" if obstacle else "beside",
        gap=obstacle if count == 1 else "",
    )


def _why_not_beside(service: Service, count: int) -> str:
    """Return why the service cannot have one container more for a while; "" if it can."""
    from owctl.health.choice import choose_probe

    if choose_probe(service).type not in _SERVING:
        return "only one at a time may work on its data"
    for port in service.ports:
        if host_ports(port) is not None:
            host = f"{port.host_ip}:" if port.host_ip else ""
            return f"two cannot have the host port {host}{port.published}"
    if any(
        each.ipv4_address or each.ipv6_address or each.mac_address for each in service.attachments
    ):
        return "two cannot have its fixed address"
    if service.network_mode is not None:
        return f"network_mode {service.network_mode}"
    written = [mount for mount in service.mounts if _is_written(mount)]
    if count == 1 and written:
        # Whoever scales a service has said that several may use what they share.
        return f"only one at a time may write to {written[0].target}"
    return ""


def _is_written(mount: Mount) -> bool:
    return mount.type in ("volume", "bind") and not mount.read_only
