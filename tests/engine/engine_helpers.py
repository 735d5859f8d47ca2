"""What several tests of the engine room do: create, start, poll."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

from owctl.compose.model import Service, Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import Container, create_container, inspect_container, start_container
from owctl.engine.create_config import container_config
from owctl.engine.images import image_id
from owctl.engine.naming import container_name
from owctl.engine.networks import ensure_network
from owctl.engine.volumes import ensure_volume

# Works as root, where nobody else may use the socket.
AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def body_of(engine: Engine, stack: Stack, service: Service, number: int = 1) -> dict:
    identity = image_id(engine, service.image_name(stack.project))
    assert identity is not None
    return container_config(
        stack, service, number=number, image_id=identity, api_version=engine.api_version
    )


def create(engine: Engine, stack: Stack, service: Service, number: int = 1) -> Container:
    for network in stack.networks.values():
        ensure_network(engine, stack, network)
    for volume in stack.volumes.values():
        ensure_volume(engine, stack, volume)
    name = container_name(stack, service, number)
    identity = create_container(engine, name, body_of(engine, stack, service, number))
    return inspected(engine, identity)


def run(engine: Engine, stack: Stack, service: Service, number: int = 1) -> Container:
    container = create(engine, stack, service, number)
    start_container(engine, container.id, container.name)
    return inspected(engine, container.id)


def inspected(engine: Engine, identity: str) -> Container:
    container = inspect_container(engine, identity)
    assert container is not None
    return container


def wait_until(condition: Callable[[], bool], what: str, timeout_seconds: float = 20) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_seconds} s: {what}"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_compose_file(folder: Path, text: str) -> Path:
    path = folder / "compose.yaml"
    path.write_text(text)
    return path
