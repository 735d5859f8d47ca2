"""Containers: what the engine says of them and of who uses what, and the few things that are done to them."""

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from owctl.engine.inspection import (
    Container,
    ContainerMount,
    PublishedPort,
    container_from_inspect,
    health_log,
)
from owctl.engine.naming import NUMBER, ONEOFF, PROJECT, SERVICE, WORKING_DIR
from owctl.errors import EngineError, NotFound

if TYPE_CHECKING:
    from typing import Any

    from owctl.engine.connection import Engine


# -- Containers: what the engine says of them, and the few things that are done to them.


__all__ = [
    "Container",
    "ContainerMount",
    "PublishedPort",
    "connect_network",
    "container_from_inspect",
    "create_container",
    "health_log",
    "inspect_container",
    "list_containers",
    "remove_container",
    "rename_container",
    "restart_container",
    "set_restart_policy",
    "start_container",
    "stop_and_remove",
    "stop_container",
]

SEVERAL_NETWORKS_API_VERSION = "1.44"
_ENGINE_STOP_TIMEOUT_SECONDS = 10


def list_containers(
    engine: "Engine",
    project: str,
    *,
    services: Collection[str] | None = None,
    all: bool = True,  # noqa: A002  # as the docker command calls it
) -> list[Container]:
    """Return the project's containers by service and number, one-off ones left out.

    ``services`` narrows it down; without ``all`` only running ones count. A container that goes
    away meanwhile is left out.
    """
    labels = [f"{PROJECT}={project}", f"{ONEOFF}=False"]
    with engine.translate("list the containers"):
        found = engine.api.containers(all=all, filters={"label": labels})
    identities = [
        str(entry["Id"])
        for entry in found
        if services is None or (entry.get("Labels") or {}).get(SERVICE) in services
    ]
    inspected = engine.map(
        lambda identity: inspect_container(engine, identity), identities, quick=True
    )
    containers = [container for container in inspected if container is not None]
    return sorted(containers, key=lambda each: (each.service, each.number, each.name))


def inspect_container(engine: "Engine", container_id: str) -> Container | None:
    """Return the container of that id or name, None if there is none."""
    try:
        with engine.translate(f"inspect the container {container_id[:12]}"):
            return container_from_inspect(engine.api.inspect_container(container_id))
    except NotFound:
        return None


def create_container(
    engine: "Engine", name: str, config: Mapping[str, Any], platform: str | None = None
) -> str:
    """Create a container from the raw body ``config`` and return its id.

    All its networks are joined before it is handed back, also on an engine that takes only one
    at creation. Raises ImageMissing, EngineError (name taken, invalid mount, …).
    """
    if engine.is_podman:
        from owctl.engine.drift import for_podman

        config = for_podman(config)
    body, later = _split_networks(config, engine.at_least(SEVERAL_NETWORKS_API_VERSION))
    with engine.translate(f"create the container {name}"):
        answer = engine.api.create_container_from_config(  # type: ignore[no-untyped-call]
            body, name=name, platform=platform
        )
    container_id = str(answer["Id"])
    try:
        for network, endpoint in later.items():
            connect_network(engine, container_id, network, endpoint)
    except BaseException:
        remove_container(engine, container_id, force=True)
        raise
    return container_id


def connect_network(
    engine: "Engine", container_id: str, network: str, endpoint: Mapping[str, Any]
) -> None:
    """Join a container to a network; ``endpoint`` is the raw EndpointConfig."""
    with engine.translate(f"connect the container {container_id[:12]} to the network {network}"):
        addresses = endpoint.get("IPAMConfig") or {}
        engine.api.connect_container_to_network(
            container_id,
            network,
            aliases=endpoint.get("Aliases"),
            ipv4_address=addresses.get("IPv4Address"),
            ipv6_address=addresses.get("IPv6Address"),
            mac_address=endpoint.get("MacAddress"),
        )


def start_container(engine: "Engine", container_id: str, name: str | None = None) -> None:
    """Start a container. Raises PortTaken and EngineError; ``name`` is for their messages."""
    with engine.translate(f"start {name or container_id[:12]}"):
        engine.api.start(container_id)


def stop_container(engine: "Engine", container_id: str, timeout_seconds: int | None = None) -> None:
    """Stop a container and wait until it has; after the timeout the engine kills it.

    None is the container's own grace period. One that has ended already is no error.
    """
    grace = _grace_seconds(engine, container_id) if timeout_seconds is None else timeout_seconds
    with engine.translate(f"stop the container {container_id[:12]}"):
        engine.api.stop(container_id, timeout=grace)


def restart_container(
    engine: "Engine", container_id: str, timeout_seconds: int | None = None
) -> None:
    """Stop a container as ``stop_container`` does, and start it again."""
    grace = _grace_seconds(engine, container_id) if timeout_seconds is None else timeout_seconds
    with engine.translate(f"restart the container {container_id[:12]}"):
        engine.api.restart(container_id, timeout=grace)


def remove_container(
    engine: "Engine", container_id: str, force: bool = False, volumes: bool = False
) -> None:
    """Remove a container (``force``: a running one too; ``volumes``: its anonymous ones too).

    One that is gone, or is being removed by someone else, is no error: it is waited for.
    """
    import docker.errors

    with engine.translate(f"remove the container {container_id[:12]}"):
        try:
            engine.api.remove_container(container_id, force=force, v=volumes)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError as error:
            if "removal of container" not in str(error.explanation):
                raise
            _wait_until_removed(engine, container_id)


def stop_and_remove(
    engine: "Engine", container_id: str, timeout_seconds: int | None = None
) -> None:
    """Remove a container that may be at work: what it has begun, it may end.

    One that cannot be stopped is removed nevertheless. Raises EngineError where that fails, too.
    """
    with contextlib.suppress(EngineError):
        stop_container(engine, container_id, timeout_seconds)
    remove_container(engine, container_id, force=True)


def set_restart_policy(engine: "Engine", container_id: str, name: Literal["always", "no"]) -> None:
    """Have the engine start a container by itself from now on ("always"), or not ("no").

    Podman cannot change it, and starts none by itself.
    """
    if engine.is_podman:
        return
    with engine.translate(f"change the restart policy of the container {container_id[:12]}"):
        engine.api.update_container(container_id, restart_policy={"Name": name})  # type: ignore[arg-type]


def rename_container(engine: "Engine", container_id: str, name: str) -> None:
    """Give a container another name. Raises EngineError when it is taken."""
    with engine.translate(f"rename the container {container_id[:12]} to {name}"):
        engine.api.rename(container_id, name)


def _split_networks(
    config: Mapping[str, Any], takes_several: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the body to create with and the endpoints to connect afterwards."""
    body = dict(config)
    endpoints = (config.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
    first = (config.get("HostConfig") or {}).get("NetworkMode")
    if takes_several or len(endpoints) < 2:
        return body, {}
    body["NetworkingConfig"] = {"EndpointsConfig": {first: endpoints[first]}}
    return body, {name: endpoint for name, endpoint in endpoints.items() if name != first}


def _grace_seconds(engine: "Engine", container_id: str) -> int:
    # Asked for, because docker-py waits for the answer no longer than the timeout it is told.
    container = inspect_container(engine, container_id)
    configured = container.raw["Config"].get("StopTimeout") if container else None
    return _ENGINE_STOP_TIMEOUT_SECONDS if configured is None else int(configured)


def _wait_until_removed(engine: "Engine", container_id: str) -> None:
    import docker.errors

    try:
        engine.api.wait(container_id, condition="removed")
    except docker.errors.NotFound:
        return


# -- What the engine counts for a running container: processor, memory, network, disk, processes.


def read_statistics(engine: "Engine", container_id: str) -> Mapping[str, Any]:
    """Return the engine's counters of a container now; those of one that has ended are zero.

    They come at once: ``one-shot`` spares the second or two that the engine otherwise waits for
    something to compare with. Raises EngineError (it ended this very moment, or the engine counts
    for all of its containers together) and EngineUnavailable.
    """
    if engine.is_podman and engine.is_rootless and engine.info.get("CgroupVersion") == "1":
        raise EngineError(
            "a rootless Podman counts nothing for a single container on cgroup version 1",
            hint="use cgroup version 2, or root's Podman",
        )
    with engine.translate(f"read the statistics of the container {container_id[:12]}"):
        answer: Mapping[str, Any] = engine.api.stats(container_id, stream=False, one_shot=True)
    return answer


# -- The processes of a container, as the engine's host sees them.


def list_processes(engine: "Engine", container_id: str) -> dict[int, str]:
    """Return the command line of each process of a running container by its process id.

    The ids are the host's. Raises EngineError, also where the host has no ``ps``.
    """
    with engine.translate(f"list the processes of the container {container_id[:12]}"):
        answer = engine.api.top(container_id, "-eo pid,args")
    rows = answer.get("Processes") or []
    return {int(row[0]): " ".join(row[1:]) for row in rows if row and row[0].isdigit()}


# -- Who uses what on the engine: every container, of whatever project, seen in one request.


@dataclass(frozen=True, slots=True)
class Usage:
    """A container and what it holds; ``project`` and ``service`` are "" where no label says them.

    ``networks`` are names and ids, as a container that never ran has the names alone. ``binds`` are
    folders of the engine's host.
    """

    id: str
    name: str
    project: str
    service: str
    number: int
    is_oneoff: bool
    state: str
    image: str
    image_id: str
    networks: frozenset[str]
    volumes: tuple[str, ...]
    binds: tuple[str, ...]

    @property
    def needs_stop(self) -> bool:
        """Whether a process of it is alive, or about to be."""
        return self.state in ("running", "restarting", "paused")


def list_usage(engine: "Engine") -> list[Usage]:
    """Return every container of the engine, stopped ones too, by name."""
    with engine.translate("list the containers"):
        found = engine.api.containers(all=True)
    return sorted((_usage(raw) for raw in found), key=lambda each: each.name)


def _usage(raw: "dict[str, Any]") -> Usage:
    labels: dict[str, str] = raw.get("Labels") or {}
    mounts = raw.get("Mounts") or []
    networks = (raw.get("NetworkSettings") or {}).get("Networks") or {}
    number = labels.get(NUMBER, "")
    identities = {str((endpoint or {}).get("NetworkID") or "") for endpoint in networks.values()}
    return Usage(
        id=str(raw["Id"]),
        name=_name(raw),
        project=labels.get(PROJECT, ""),
        service=labels.get(SERVICE, ""),
        number=int(number) if number.isdigit() else 1,
        is_oneoff=labels.get(ONEOFF) == "True",
        state=str(raw.get("State") or ""),
        image=str(raw.get("Image") or ""),
        image_id=str(raw.get("ImageID") or ""),
        networks=frozenset({*networks, *identities} - {""}),
        volumes=tuple(str(item["Name"]) for item in mounts if item.get("Type") == "volume"),
        binds=tuple(str(item["Source"]) for item in mounts if item.get("Type") == "bind"),
    )


def _name(raw: "dict[str, Any]") -> str:
    # A container that others link to has their names for it, too: /other/alias.
    names = [name.lstrip("/") for name in raw.get("Names") or []]
    own = [name for name in names if "/" not in name]
    return str((own or names or [str(raw["Id"])[:12]])[0])


@dataclass(frozen=True, slots=True)
class HostPort:
    """A port of the host that a running container publishes.

    ``project`` and ``working_dir``, the project's folder, are "" outside compose.
    """

    host_ip: str
    number: int
    protocol: str
    container_id: str
    container: str
    project: str
    working_dir: str = ""


def published_ports(engine: "Engine") -> list[HostPort]:
    """Return every host port that the engine's running containers hold. Raises its errors."""
    with engine.translate("list the published ports"):
        containers = engine.api.containers()
    return [
        HostPort(
            host_ip=str(port.get("IP") or ""),
            number=int(port["PublicPort"]),
            protocol=str(port.get("Type") or "tcp"),
            container_id=str(entry["Id"]),
            container=str((entry.get("Names") or ["?"])[0]).lstrip("/"),
            project=(entry.get("Labels") or {}).get(PROJECT, ""),
            working_dir=(entry.get("Labels") or {}).get(WORKING_DIR, ""),
        )
        for entry in containers
        for port in entry.get("Ports") or []
        if port.get("PublicPort")
    ]
