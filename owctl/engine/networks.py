"""The project's networks: list, make, remove."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from owctl.compose.model import Network, Stack
from owctl.engine.naming import NETWORK, PROJECT, network_labels
from owctl.errors import EngineError, NotFound

if TYPE_CHECKING:
    from owctl.engine.connection import Engine


@dataclass(frozen=True, slots=True)
class ProjectNetwork:
    """A network on the engine; ``key`` is its key in the compose files ("" for a foreign one)."""

    id: str
    name: str
    key: str
    project: str | None
    driver: str
    labels: Mapping[str, str] = field(repr=False)


def list_networks(engine: "Engine", project: str) -> list[ProjectNetwork]:
    """Return the networks that carry the project's label, by name."""
    with engine.translate("list the networks"):
        found = engine.api.networks(filters={"label": f"{PROJECT}={project}"})
    return sorted((_network(raw) for raw in found), key=lambda each: each.name)


def find_network(engine: "Engine", name: str) -> ProjectNetwork | None:
    """Return the network of exactly that name, None if there is none."""
    with engine.translate(f"look for the network {name}"):
        found = engine.api.networks(names=[name])  # also matches parts of names
    return next((_network(raw) for raw in found if raw["Name"] == name), None)


def ensure_network(engine: "Engine", stack: Stack, network: Network) -> ProjectNetwork:
    """Return the network of the engine for ``network``; make it if it is missing.

    One of the same name that exists is taken as it is, whoever made it, as compose does.
    Raises NotFound for an external network that does not exist.
    """
    found = find_network(engine, network.name)
    if found is not None:
        return found
    if network.external:
        raise NotFound(
            f"Cannot use the network {network.name}: it is external and does not exist",
            hint=f"`docker network create {network.name}`, or take `external: true` away",
        )
    try:
        with engine.translate(f"create the network {network.name}"):
            engine.api.create_network(
                network.name,
                driver=network.driver,
                options=dict(network.driver_opts) or None,
                ipam=_ipam(network.ipam),
                check_duplicate=True,
                internal=network.internal,
                labels=network_labels(stack, network),
                enable_ipv6=bool(network.enable_ipv6),
                attachable=network.attachable or None,
            )
    except EngineError as error:
        # Someone else may have made it in the meantime.
        if "already exists" not in f"{error.message} {error.details}":
            raise
    found = find_network(engine, network.name)
    if found is None:
        raise NotFound(
            f"Cannot use the network {network.name}: it was removed right after it was made",
            hint="see whether another command works on this project, then try again",
        )
    return found


def remove_network(engine: "Engine", network_id: str, name: str | None = None) -> None:
    """Remove a network. One that is gone is no error; one in use raises EngineError."""
    try:
        with engine.translate(f"remove the network {name or network_id[:12]}"):
            engine.api.remove_network(network_id)
    except NotFound:
        return


def _ipam(ipam: Mapping[str, Any]) -> Any:  # noqa: ANN401  # docker-py's own loose type
    if not ipam:
        return None
    keys = {
        "subnet": "Subnet",
        "ip_range": "IPRange",
        "gateway": "Gateway",
        "aux_addresses": "AuxiliaryAddresses",
    }
    return {
        "Driver": ipam.get("driver") or "default",
        "Options": ipam.get("options"),
        "Config": [
            {keys[key]: value for key, value in pool.items() if key in keys}
            for pool in ipam.get("config") or []
        ],
    }


def _network(raw: Mapping[str, Any]) -> ProjectNetwork:
    labels: dict[str, str] = raw.get("Labels") or {}
    return ProjectNetwork(
        id=str(raw["Id"]),
        name=str(raw["Name"]),
        key=labels.get(NETWORK, ""),
        project=labels.get(PROJECT),
        driver=str(raw.get("Driver") or ""),
        labels=labels,
    )
