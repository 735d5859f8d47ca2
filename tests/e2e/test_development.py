"""The development stack, and the loop of somebody who changes the backend."""

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import socketio

from tests.e2e.conftest import (
    PORT_VARIABLES,
    Project,
    free_ports,
    make_project,
    remove_project,
)
from tests.e2e.pages import run_page
from tests.engine.engine_helpers import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
PAGE = "docs/development.md"
DEFAULT_PORTS = {"postgres": 5432, "rust-backend": 8080}
TOOL_PORTS = ("PGADMIN_PORT", "REDIS_COMMANDER_PORT")
# In place of the developer's toolchain: the demonstration's backend, in the network of this machine.
CARGO = """\
#!/bin/sh
set -eu
[ "$*" = run ]
env | grep -E '^(HOST|PORT|DATABASE_|WEBUI_|JWT_|ENABLE_|DEFAULT_USER_ROLE=)' >{folder}/given.env
exec docker run --detach --name {name} --label com.docker.compose.project={project} \\
    --network host --env-file {folder}/given.env --env UPLOAD_DIR=/app/data \\
    owctl-demo-rust-backend:latest
"""
# pgAdmin and Redis Commander cannot be had here: servers that answer what owctl asks those.
STAND_INS = """\
services:
  pgadmin:
    image: owctl-demo-rust-backend:latest
    tmpfs: [/app/data]
    user: root
    working_dir: /tmp
    command: ["sh", "-c", "mkdir misc && touch misc/ping && exec python3 -m http.server 80"]
  redis-commander:
    image: owctl-demo-rust-backend:latest
    tmpfs: [/app/data]
    command: ["python3", "-m", "http.server", "8081"]
    x-owctl: {probe: {type: http, port: 8081, path: /}}
"""


@pytest.fixture(scope="module")
def project(
    demo_stack: Project, demo_base_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """A project of which nothing runs yet, on the images of the shared stack."""
    made = make_project(tmp_path_factory.mktemp("develop"), demo_base_image)
    # A backend that is built for this project alone: others use the demonstration's image.
    (made.directory / "compose.own.yaml").write_text(
        f"services:\n  rust-backend:\n    image: {made.project}-backend:latest\n"
    )
    made.succeed(
        "setup",
        "--set=COMPOSE_FILE=compose.yaml:compose.demo.yaml:compose.own.yaml",
        *(f"--set={name}={port}" for name, port in zip(TOOL_PORTS, free_ports(2), strict=True)),
    )
    try:
        yield made
    finally:
        remove_project(made.project)
        remove_project(f"{made.project}-dev")
        image = ["docker", "image", "rm", f"{made.project}-backend:latest"]
        subprocess.run(image, capture_output=True, check=False)


@pytest.fixture
def cargo(project: Project, tmp_path: Path) -> Path:
    """A folder with a `cargo` whose `run` starts the demonstration's backend."""
    program = tmp_path / "cargo"
    name = f"{project.project}-cargo"
    folder = project.directory
    program.write_text(CARGO.format(folder=folder, name=name, project=f"{project.project}-dev"))
    program.chmod(0o755)
    return tmp_path


def sees_the_backend(project: Project) -> None:
    """The bridge of the development stack asks the backend on this machine who somebody is."""
    backend = f"http://127.0.0.1:{project.ports['rust-backend']}"
    account = {"name": "Ada", "email": "ada@example.org", "password": "long enough"}
    token = httpx.post(f"{backend}/api/v1/auths/signup", json=account).json()["token"]
    client = socketio.SimpleClient()
    try:
        client.connect(f"http://127.0.0.1:{project.ports['socketio-bridge']}", wait_timeout=30)
        answer = client.call("user-join", {"auth": {"token": token}}, timeout=30)
    finally:
        client.disconnect()
    assert answer["name"] == "Ada"


def test_every_command_of_the_page(project: Project, cargo: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", f"{cargo}{os.pathsep}{os.environ['PATH']}")
    backend = f"http://127.0.0.1:{project.ports['rust-backend']}/health"
    container = f"{project.project}-cargo"

    def answers() -> bool:
        try:
            return httpx.get(backend).is_success
        except httpx.TransportError:
            return False

    def refused_beside_production() -> None:
        result = project.owctl("dev", "start")
        assert result.returncode == 1
        assert f"(project {project.project}), of this very folder" in result.stderr
        assert f"Try: owctl -p {project.project} stop, or set DEV_" in result.stderr

    def ended() -> None:
        subprocess.run(["docker", "rm", "-f", container], capture_output=True, check=True)

    new_ports = dict(
        zip(("15432", "16379", "18081", "18080"), map(str, free_ports(4)), strict=True)
    )
    output = run_page(
        PAGE,
        project.directory,
        {str(port): str(project.ports[name]) for name, port in DEFAULT_PORTS.items()} | new_ports,
        before={
            "curl -fsS http://localhost:8080/health/db": lambda: wait_until(
                answers, "the backend on this machine", 60
            ),
            "owctl dev logs --tail 20 bridge": lambda: sees_the_backend(project),
            "owctl dev stop": ended,
            "owctl logs --tail 20 backend": refused_beside_production,
        },
    )
    assert "user" in output["owctl dev shell db psql -U open_webui -c '\\dt'"]
    written = (project.directory / "backend.env").read_text()
    assert f"@127.0.0.1:{project.ports['postgres']}/" in written
    history = project.succeed("history").stdout
    assert "owctl dev start" in history


def test_the_tools_are_a_profile_that_a_bare_stop_ends_too(project: Project):
    (project.directory / "tools.yaml").write_text(STAND_INS)
    files = ["-f", "compose.dev.yaml", "-f", "compose.demo.dev.yaml", "-f", "tools.yaml"]
    project.succeed(*files, "dev", "tools")
    status = json.loads(project.succeed(*files, "dev", "status", "--json").stdout)
    assert status["project"] == f"{project.project}-dev"
    states = {row["service"]: row["state"] for row in status["services"]}
    assert states == dict.fromkeys(
        ("postgres", "redis", "socketio-bridge", "pgadmin", "redis-commander"), "running"
    )
    again = project.succeed("dev", "start")
    assert "no compose file describes" not in again.stderr
    ended = project.succeed("dev", "stop")
    assert "left running" not in ended.stderr
    found = ["docker", "ps", "-aq", "--filter"]
    found += [f"label=com.docker.compose.project={project.project}-dev"]
    assert subprocess.run(found, capture_output=True, text=True, check=True).stdout == ""


def test_what_cannot_be_had_leaves_nothing_behind(project: Project):
    result = project.owctl("dev", "tools")
    assert result.returncode == 1
    assert "pgadmin" in result.stderr
    assert "Try: " in result.stderr


def test_messages_name_the_commands_of_the_development_stack(project: Project):
    result = project.owctl("dev", "restart", "redis")
    assert result.returncode == 1
    assert "Try: owctl dev start redis" in result.stderr
    assert project.owctl("dev", "strat").returncode == 2
    missing = project.owctl("dev", "start", "frontend")
    assert missing.returncode == 2


@pytest.fixture
def built(tmp_path: Path, demo_base_image: str) -> Iterator[Project]:
    """A project with one service that is built here."""
    name = f"owctl-test-{secrets.token_hex(4)}"
    (tmp_path / "compose.yaml").write_text(
        f"name: {name}\nservices:\n  app: {{build: ., init: true, image: {name}-app}}\n"
        f"  tool: {{image: {name}-app, init: true, profiles: [extra], depends_on: [app]}}\n"
    )
    (tmp_path / "Dockerfile").write_text(
        f'FROM {demo_base_image}\nRUN echo one >/word\nCMD ["sh", "-c", "cat /word; exec sleep 600"]\n'
    )
    project = Project(tmp_path, name, dict.fromkeys(PORT_VARIABLES, 0))
    try:
        yield project
    finally:
        remove_project(name)
        subprocess.run(["docker", "image", "rm", f"{name}-app"], capture_output=True, check=False)


@pytest.fixture(params=["classic", "buildx"])
def builder(request: pytest.FixtureRequest) -> dict[str, str]:
    """The variables with which one of the two builders is used."""
    if request.param == "classic":
        return {"DOCKER_BUILDKIT": "0"}
    script = Path(__file__).parents[2] / "scripts" / "compose-plugin"
    found = subprocess.run([script], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.skip(f"no docker buildx: {found.stderr.strip()}")
    return {"DOCKER_CONFIG": found.stdout.strip()}


def test_rebuild_up_replaces_what_runs_and_a_failing_build_touches_nothing(
    built: Project, builder: dict[str, str]
):
    plan = built.succeed("rebuild", "--up", "--dry-run", environment=builder).stdout
    assert plan.splitlines()[0].startswith("build image")
    assert "start " in plan
    built.succeed("rebuild", "--up", environment=builder)
    first = container_id(built)
    text = (built.directory / "Dockerfile").read_text()
    (built.directory / "Dockerfile").write_text(text.replace("echo one", "echo no room; exit 9; "))
    failed = built.owctl("rebuild", "app", "--up", environment=builder)
    assert failed.returncode == 1
    assert "no room" in failed.stderr
    assert "Try: correct the Dockerfile" in failed.stderr
    assert container_id(built) == first
    (built.directory / "Dockerfile").write_text(text.replace("one", "two"))
    done = built.succeed("rebuild", "app", "--up", environment=builder)
    assert "replaced: new image" in done.stdout
    assert container_id(built) != first
    assert "two" in built.succeed("logs", "app").stdout


def test_a_dockerfile_that_needs_buildkit_says_so_or_is_built(
    built: Project, builder: dict[str, str]
):
    dockerfile = built.directory / "Dockerfile"
    cached = "RUN --mount=type=cache,target=/var/cache/x echo"
    dockerfile.write_text(dockerfile.read_text().replace("RUN echo", cached))
    result = built.owctl("rebuild", "app", environment=builder)
    if "DOCKER_CONFIG" in builder:
        assert result.returncode == 0, result.stderr
        return
    assert result.returncode == 1
    assert "the --mount option requires BuildKit" in result.stderr
    assert "Try: this Dockerfile needs BuildKit: unset DOCKER_BUILDKIT" in " ".join(
        result.stderr.split()
    )
    dockerfile.write_text(dockerfile.read_text() + "NONSENSE\n")
    result = built.owctl("rebuild", "app", environment=builder)
    assert "unknown instruction: NONSENSE" in result.stderr
    assert "Try: correct the Dockerfile" in result.stderr


def container_id(project: Project) -> str:
    words = ["docker", "ps", "-q", "--no-trunc", "--filter"]
    words += [f"label=com.docker.compose.project={project.project}"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def test_a_profile_works_everywhere(built: Project):
    built.succeed("start")
    assert set(built.status()) == {"app"}
    built.succeed("--profile", "extra", "start")
    rows = json.loads(built.succeed("--profile", "extra", "status", "--json").stdout)["services"]
    assert {row["service"]: row["state"] for row in rows} == {"app": "running", "tool": "running"}
    assert "tool" in built.succeed("--profile", "extra", "logs", "tool").stdout
    assert built.owctl("logs", "tool").returncode == 2
    # From the environment as from the option.
    plan = built.succeed("stop", "tool", "--dry-run", environment={"COMPOSE_PROFILES": "extra"})
    assert "tool" in plan.stdout
    assert "app" not in plan.stdout.replace(f"{built.project}-app", "")
    assert "no compose file describes" not in built.succeed("start").stderr
    built.succeed("stop")
    assert container_id(built) == ""
