"""A real engine for the tests, a project of a random name, and what removes all of it again."""

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine_helpers import run

from owctl.compose.model import Attachment, Network, Service, Stack, Volume
from owctl.engine.connection import Engine
from owctl.engine.containers import Container
from owctl.errors import EngineUnavailable

ROOT = Path(__file__).parents[2]
PROJECT_LABEL = "com.docker.compose.project"
BASE_IMAGES = ("owctl-demo-base:bookworm", "debian:bookworm-slim")


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    try:
        connected = Engine.connect(None, os.environ)
    except EngineUnavailable as error:
        if os.environ.get("OWCTL_REQUIRE_DOCKER") == "1":
            pytest.fail(f"OWCTL_REQUIRE_DOCKER=1, but: {error.message}")
        pytest.skip(error.message)
    with connected:
        yield connected


@pytest.fixture(scope="session")
def base_image(engine: Engine) -> str:
    """The name of a small Debian image with bash; scripts/base-image makes it if need be."""
    found = present_base_image(engine)
    if found is None and (ROOT / "scripts" / "base-image").exists():
        subprocess.run([ROOT / "scripts" / "base-image"], check=True)
        found = present_base_image(engine)
    assert found is not None, f"none of {BASE_IMAGES} is there; scripts/base-image makes one"
    return found


def present_base_image(engine: Engine) -> str | None:
    tags = {tag for image in engine.api.images() for tag in image.get("RepoTags") or []}
    return next((name for name in BASE_IMAGES if name in tags), None)


@pytest.fixture
def project(engine: Engine) -> Iterator[str]:
    name = f"owctl-test-{secrets.token_hex(4)}"
    yield name
    remove_everything(engine, name)


def remove_everything(engine: Engine, project: str) -> None:
    """Remove every container, network, volume and image that carries the project's label."""
    labelled = {"label": f"{PROJECT_LABEL}={project}"}
    for container in engine.api.containers(all=True, filters=labelled):
        engine.api.remove_container(container["Id"], force=True, v=True)
    for network in engine.api.networks(filters=labelled):
        engine.api.remove_network(network["Id"])
    for volume in engine.api.volumes(filters=labelled)["Volumes"] or []:
        engine.api.remove_volume(volume["Name"])
    for image in engine.api.images(filters=labelled):
        engine.api.remove_image(image["Id"], force=True)


@pytest.fixture
def make_stack(project: str, tmp_path: Path) -> Callable[..., Stack]:
    """Build a stack of services, all on the network "default" unless they say otherwise."""

    def make(*services: Service, networks: tuple[str, ...] = (), volumes: tuple[str, ...] = ()):
        keys = dict.fromkeys(("default", *networks))
        return Stack(
            project=project,
            working_dir=tmp_path,
            config_files=(tmp_path / "compose.yaml",),
            environment_files=(),
            services={service.name: service for service in services},
            networks={key: Network(key=key, name=f"{project}_{key}") for key in keys},
            volumes={key: Volume(key=key, name=f"{project}_{key}") for key in volumes},
        )

    return make


@pytest.fixture
def sleeper(base_image: str) -> Callable[..., Service]:
    """Build a service that does nothing until it is told to end."""

    def make(name: str = "web", **fields: object) -> Service:
        settings = {
            "image": base_image,
            "command": ("sleep", "3600"),
            "init": True,
            "attachments": (Attachment("default"),),
            "stop_grace_period_seconds": 1.0,
        }
        return Service(name=name, **{**settings, **fields})

    return make


@pytest.fixture
def ended(
    engine: Engine, make_stack: Callable[..., Stack], sleeper: Callable[..., Service]
) -> Callable[..., str]:
    """Run a shell script in a container to its end; returns the container's id."""

    def make(script: str, **fields: object) -> str:
        service = sleeper(command=("sh", "-c", script), **fields)
        container = run(engine, make_stack(service), service)
        engine.api.wait(container.id)
        return container.id

    return make


@pytest.fixture
def folder(tmp_path: Path, project: str, base_image: str) -> Path:
    """A folder with a compose file of three services."""
    services = "".join(
        f"  {name}:\n    image: {base_image}\n" for name in ("web", "postgres", "redis")
    )
    (tmp_path / "compose.yaml").write_text(f"name: {project}\nservices:\n{services}")
    return tmp_path


@pytest.fixture
def container(
    engine: Engine, make_stack: Callable[..., Stack], sleeper: Callable[..., Service]
) -> Container:
    """The service "web" of that file, running."""
    stack = make_stack(service := sleeper())
    return run(engine, stack, service)
