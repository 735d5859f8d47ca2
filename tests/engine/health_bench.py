"""A project of test containers whose health the tests ask for."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from owctl.compose.model import Service, Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import Container, inspect_container
from owctl.engine.naming import NUMBER, ONEOFF, PROJECT, SERVICE
from owctl.health.check import check_container
from owctl.health.result import ServiceHealth

POSTGRES = "owctl-demo-postgres:latest"
REDIS = "owctl-demo-redis:latest"
PASSWORD = "correct-horse-battery"


class Bench:
    """A project of test containers, each a service of a stack."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.project = f"owctl-test-{uuid4().hex[:10]}"
        self.services: dict[str, Service] = {}
        self.numbers: dict[str, int] = {}
        engine.api.create_network(self.project, labels={PROJECT: self.project})

    @property
    def stack(self) -> Stack:
        return Stack(self.project, Path("/"), (), (), self.services, {}, {})

    def run(
        self,
        service: Service,
        *command: str,
        environment: dict[str, str] | None = None,
        publish: int | None = None,
        healthcheck: dict[str, Any] | None = None,
        **host: Any,
    ) -> str:
        """Start a container and return its id."""
        assert service.image is not None
        api = self.engine.api
        if not api.images(service.image):
            missing = f"the image {service.image} has not been built"
            pytest.fail(missing) if os.environ.get("OWCTL_REQUIRE_DOCKER") else pytest.skip(missing)
        number = self.numbers[service.name] = self.numbers.get(service.name, 0) + 1
        self.services[service.name] = service
        bindings = {publish: ("127.0.0.1", None)} if publish else None
        created = api.create_container(
            service.image,
            command=list(command) or None,
            environment=environment,
            ports=[publish] if publish else None,
            healthcheck=healthcheck,
            name=f"{self.project}-{service.name}-{number}",
            labels={
                PROJECT: self.project,
                SERVICE: service.name,
                NUMBER: str(number),
                ONEOFF: "False",
            },
            host_config=api.create_host_config(
                port_bindings=bindings, **({"network_mode": self.project} | host)
            ),
        )
        api.start(created["Id"])
        return str(created["Id"])

    def container(self, container_id: str) -> Container:
        container = inspect_container(self.engine, container_id)
        assert container is not None
        return container

    def check(self, container_id: str, **options: Any) -> ServiceHealth:
        container = self.container(container_id)
        service = self.services[container.service]
        return check_container(
            self.engine, self.stack, service, container, timeout_seconds=2, **options
        )

    def until(self, container_id: str, status: str) -> ServiceHealth:
        row = eventually(lambda: self.check(container_id), lambda row: row.status == status)
        assert row.status == status, row
        return row

    def address(self, container_id: str) -> str:
        return self.container(container_id).networks[self.project]

    def remove(self) -> None:
        api = self.engine.api
        for found in api.containers(all=True, filters={"label": f"{PROJECT}={self.project}"}):
            api.remove_container(found["Id"], force=True, v=True)
        api.remove_network(self.project)


def eventually(
    ask: Callable[[], ServiceHealth], good: Callable[[ServiceHealth], bool]
) -> ServiceHealth:
    """Ask until the answer is good, for at most 30 s; return the last one."""
    deadline = time.monotonic() + 30
    while True:
        answer = ask()
        if good(answer) or time.monotonic() > deadline:
            return answer


@contextmanager
def open_bench(engine: Engine) -> Iterator[Bench]:
    """Make a bench; in the end remove all that it made."""
    bench = Bench(engine)
    try:
        yield bench
    finally:
        bench.remove()
