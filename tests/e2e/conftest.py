"""Real stacks for the end-to-end tests: the installed owctl, as a user runs it."""

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import docker
import pytest

from tests.json_documents import check_output

ROOT = Path(__file__).resolve().parents[2]
OWCTL = Path(sys.executable).parent / "owctl"
PROJECT_LABEL = "com.docker.compose.project"
PORT_VARIABLES = {
    "frontend": "OPEN_WEBUI_PORT",
    "postgres": "POSTGRES_PORT",
    "redis": "REDIS_PORT",
    "rust-backend": "RUST_PORT",
    "socketio-bridge": "SOCKETIO_PORT",
}


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment of a user who has set nothing of ours."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COMPOSE_", "OWCTL_", "POSTGRES_", "REDIS_", "WEBUI_"))
        and name not in PORT_VARIABLES.values()
    }
    return kept | {"COLUMNS": "80"} | extra


def owctl(
    *arguments: str | Path,
    cwd: Path,
    environment: dict[str, str] | None = None,
    given: str | bytes | None = None,
    timeout_seconds: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run the installed owctl; the result has text streams and the exit code.

    What it prints with ``--json`` is held to docs/schemas/.
    """
    result = subprocess.run(
        [str(OWCTL), *map(str, arguments)],
        cwd=cwd,
        env=clean_environment(**(environment or {})),
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    check_output([str(argument) for argument in arguments], result.stdout)
    return result


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, below the range that the kernel hands out by itself."""
    found: list[int] = []
    while len(found) < count:
        port = 15000 + secrets.randbelow(15000)
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


@dataclass
class Project:
    """A project folder of a test, with its own name and ports."""

    directory: Path
    project: str
    ports: dict[str, int]
    environment: dict[str, str] = field(default_factory=dict)

    def owctl(self, *arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
        """Run owctl in the project's folder."""
        return owctl(*arguments, cwd=self.directory, **options)

    def succeed(self, *arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
        """Run owctl and fail the test, showing both streams, unless it exits with 0."""
        result = self.owctl(*arguments, **options)
        assert result.returncode == 0, f"{arguments}\n{result.stdout}\n{result.stderr}"
        return result

    def status(self) -> dict[str, dict]:
        """The services of `status --json`, by name."""
        document = json.loads(self.succeed("status", "--json").stdout)
        return {row["service"]: row for row in document["services"]}


def read_environment(path: Path) -> dict[str, str]:
    from owctl.environment.dotenv import read_environment_file

    return dict(read_environment_file(path, {}).values)


def remove_project(project: str) -> None:
    """Remove everything that carries the project's label, and nothing else."""
    client = docker.from_env()
    try:
        filters = {"label": f"{PROJECT_LABEL}={project}"}
        for container in client.containers.list(all=True, filters=filters, ignore_removed=True):
            container.remove(force=True, v=True)
        for network in client.networks.list(filters=filters):
            network.remove()
        for volume in client.volumes.list(filters=filters):
            volume.remove(force=True)
    finally:
        client.close()


@pytest.fixture(scope="session")
def demo_base_image() -> str:
    """The reference of the image that the demonstration images are built on."""
    if not engine_answers():
        message = "no Docker engine answers"
        if os.environ.get("OWCTL_REQUIRE_DOCKER") == "1":
            pytest.fail(message)
        pytest.skip(message)
    result = subprocess.run(
        [str(ROOT / "scripts" / "base-image")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip().splitlines()[-1]


def engine_answers() -> bool:
    """Whether a Docker engine can be used."""
    try:
        client = docker.from_env()
        client.close()
    except docker.errors.DockerException:
        return False
    return True


def make_project(directory: Path, base_image: str, prefix: str = "owctl-test") -> Project:
    """Set a demonstration project up in a folder, without starting it."""
    directory.mkdir(parents=True, exist_ok=True)
    name = f"{prefix}-{secrets.token_hex(4)}"
    ports = dict(zip(PORT_VARIABLES, free_ports(len(PORT_VARIABLES)), strict=True))
    settings = {PORT_VARIABLES[service]: str(port) for service, port in ports.items()}
    settings |= {"COMPOSE_PROJECT_NAME": name, "DEMO_BASE_IMAGE": base_image}
    flags: Sequence[str] = [f"--set={key}={value}" for key, value in settings.items()]
    result = owctl("setup", "--demo", *flags, cwd=directory)
    assert result.returncode == 0, result.stdout + result.stderr
    return Project(directory, name, ports, read_environment(directory / ".env"))


@pytest.fixture(scope="session")
def demo_stack(tmp_path_factory: pytest.TempPathFactory, demo_base_image: str) -> Iterator[Project]:
    """A running demonstration stack that tests share: they may read it and add to it."""
    project = make_project(tmp_path_factory.mktemp("demo"), demo_base_image)
    try:
        project.succeed("start", timeout_seconds=900)
        yield project
    finally:
        remove_project(project.project)


@pytest.fixture
def own_stack(tmp_path: Path, demo_base_image: str) -> Iterator[Project]:
    """A demonstration project of the test's own, set up and not started."""
    project = make_project(tmp_path / "own", demo_base_image)
    try:
        yield project
    finally:
        remove_project(project.project)
