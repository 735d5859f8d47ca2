"""owctl reads compose files as docker compose does: hashes and resolved files are the same.

scripts/compose-plugin fetches docker compose 2.26.1, the version that the hash is tested against.
"""

import json
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from owctl.commands.config import printable_spec
from owctl.compose.config_hash import config_hash
from owctl.compose.loader import load
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.settings import Flags, Settings

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "compose"
SHIPPED = ROOT / "compose"
SECRETS = {"POSTGRES_PASSWORD": "pass", "REDIS_PASSWORD": "word", "WEBUI_SECRET_KEY": "key"}

# Folder, files, profiles, environment file, variables.
CASES: dict[str, tuple[Path, tuple[str, ...], tuple[str, ...], str, dict[str, str]]] = {
    "shipped": (SHIPPED, ("compose.yaml",), (), "", SECRETS),
    "demo": (SHIPPED, ("compose.yaml", "compose.demo.yaml"), (), "", SECRETS),
    "scaled": (SHIPPED, ("compose.yaml", "compose.scale.yaml"), (), "", SECRETS),
    "scaled demo": (
        SHIPPED,
        ("compose.yaml", "compose.demo.yaml", "compose.scale.yaml"),
        (),
        "",
        SECRETS,
    ),
    "upstream": (DATA, ("docker-compose.yaml",), (), "", {"RUST_PORT": "9090"}),
    "development": (DATA, ("docker-compose.dev.yaml",), (), "", {}),
    "tools": (DATA, ("docker-compose.dev.yaml",), ("tools",), "", {}),
    "everything": (DATA, ("everything.yaml",), ("all",), "", {"TAG": "2", "REGISTRY": "r"}),
    "merged": (DATA, ("everything.yaml", "everything.override.yaml"), ("*",), "", {}),
    "files": (DATA, ("files.yaml",), (), "", {"TOKEN": "t"}),
    "variables": (DATA, ("interpolation.yaml",), (), "interpolation.env", {}),
    "environment file": (DATA, ("dotenv.yaml",), (), "interpolation.env", {"AGAIN": "shell"}),
}


@pytest.fixture(scope="module")
def compose_config() -> str:
    """A DOCKER_CONFIG folder that has the compose plugin."""
    done = subprocess.run([ROOT / "scripts" / "compose-plugin"], capture_output=True, text=True)
    if done.returncode:
        reason = f"scripts/compose-plugin failed: {done.stderr[-500:]}"
        if os.environ.get("OWCTL_REQUIRE_DOCKER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return done.stdout.strip()


class Case:
    """One set of files, read by compose and by owctl with the same variables."""

    def __init__(self, name: str, docker_config: str) -> None:
        self.folder, self.files, self.profiles, self.env_file, variables = CASES[name]
        self.environ = {**variables, "HOME": "/root"}
        self.docker_config = docker_config

    def compose(self, *arguments: str) -> str:
        command = ["docker", "compose"]
        command += [word for name in self.files for word in ("-f", name)]
        command += [word for name in self.profiles for word in ("--profile", name)]
        command += ["--env-file", self.env_file] if self.env_file else []
        return run_compose([*command, *arguments], self.folder, self.docker_config, self.environ)

    def stack(self) -> Stack:
        flags = Flags(
            files=tuple(Path(name) for name in self.files),
            profiles=self.profiles,
            environment_files=(Path(self.env_file),) if self.env_file else (),
        )
        return load(Settings.load(flags, self.environ, self.folder))


def run_compose(
    command: list[str], folder: Path, docker_config: str, environ: Mapping[str, str]
) -> str:
    environ = {"PATH": os.environ["PATH"], **environ, "DOCKER_CONFIG": docker_config}
    environ |= {k: v for k, v in os.environ.items() if k in ("DOCKER_HOST", "DOCKER_CONTEXT")}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, compose_config: str) -> Case:
    return Case(request.param, compose_config)


def test_hashes(case: Case) -> None:
    printed = dict(line.split() for line in case.compose("config", "--hash", "*").splitlines())
    ours = {name: config_hash(service) for name, service in case.stack().services.items()}
    assert ours == printed
    assert len(ours) > 0


def test_resolved_file(case: Case) -> None:
    theirs = json.loads(case.compose("config", "--format", "json"))
    ours: dict[str, Any] = json.loads(json.dumps(printable_spec(case.stack())))
    assert ours["name"] == theirs["name"]
    assert ours.get("networks") == theirs.get("networks")
    for section in ("volumes", "secrets", "configs"):
        assert ours.get(section) == theirs.get(section)
    assert ours["services"] == theirs["services"]


@pytest.fixture
def created(engine: Engine, base_image: str, compose_config: str) -> Iterator[tuple[Stack, dict]]:
    """A project whose containers compose created: the stack, and the hash on each container."""
    project = f"owctl-test-{secrets.token_hex(4)}"
    environ = {"TEST_IMAGE": base_image, "HOME": "/root"}
    command = ["docker", "compose", "-p", project, "-f", "created.yaml"]
    try:
        run_compose([*command, "create"], DATA, compose_config, environ)
        labels = [
            container["Labels"]
            for container in engine.api.containers(
                all=True, filters={"label": f"com.docker.compose.project={project}"}
            )
        ]
        prefix = "com.docker.compose"
        flags = Flags(files=(Path("created.yaml"),), project_name=project)
        stack = load(Settings.load(flags, environ, DATA))
        yield stack, {each[f"{prefix}.service"]: each[f"{prefix}.config-hash"] for each in labels}
    finally:
        run_compose([*command, "down", "--volumes"], DATA, compose_config, environ)


def test_hashes_on_containers(created: tuple[Stack, dict[str, str]]) -> None:
    stack, labelled = created
    assert {name: config_hash(service) for name, service in stack.services.items()} == labelled
    assert set(labelled) == {"files", "optional"}
