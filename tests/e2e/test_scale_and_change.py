"""Scaling, what follows a replaced service, adopting a stack of docker compose's."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import docker
import httpx
import pytest

from tests.e2e.conftest import OWCTL, PROJECT_LABEL, ROOT, Project, clean_environment

pytestmark = pytest.mark.e2e

# What upstream's frontend does: every name is resolved once, when nginx starts.
RESOLVES_ONCE = """\
events {}
http {
    server {
        listen 8080;
        location = /health { return 200; }
        location /api/ { proxy_pass http://rust-backend:8080; }
        location /socket.io/ { proxy_pass http://socketio-bridge:8081; }
    }
}
"""


def write_override(project: Project, name: str, text: str) -> list[str]:
    (project.directory / name).write_text(text)
    return ["-f", "compose.yaml", "-f", "compose.demo.yaml", "-f", name]


def containers_of(project: Project, files: list[str], service: str) -> list[dict]:
    document = json.loads(project.succeed(*files, "status", "--json").stdout)
    return [row for row in document["services"] if row["service"] == service]


def test_the_backend_is_scaled_up_and_down_and_the_frontend_reaches_all(own_stack: Project):
    scaled = ["-f", "compose.yaml", "-f", "compose.demo.yaml", "-f", "compose.scale.yaml"]
    refused = own_stack.owctl("start", "--scale", "backend=3")
    assert refused.returncode == 2
    assert "host port" in refused.stderr
    assert " ".join(["owctl", *scaled, "start", "--scale", "rust-backend=3"]) in refused.stderr

    own_stack.succeed(*scaled, "start", "--scale", "backend=3", timeout_seconds=900)
    assert [row["number"] for row in containers_of(own_stack, scaled, "rust-backend")] == [1, 2, 3]
    health = json.loads(own_stack.succeed(*scaled, "health", "--json").stdout)
    assert len([row for row in health["services"] if row["service"] == "rust-backend"]) == 3

    base = f"http://127.0.0.1:{own_stack.ports['frontend']}"
    with httpx.Client(base_url=base, timeout=30) as client:
        for _ in range(60):
            assert client.get("/api/version").status_code == 200
    asked = set()
    for line in own_stack.succeed(*scaled, "logs", "--json", "backend").stdout.splitlines():
        entry = json.loads(line)
        if "/api/version" in entry["message"]:
            asked.add(entry["container"])
    assert len(asked) == 3

    oldest = containers_of(own_stack, scaled, "rust-backend")[0]
    dry = own_stack.succeed(*scaled, "start", "--dry-run", "--scale", "backend=1")
    assert "rust-backend-3" in dry.stdout
    own_stack.succeed(*scaled, "start", "--scale", "backend=1")
    left = containers_of(own_stack, scaled, "rust-backend")
    assert [row["started_at"] for row in left] == [oldest["started_at"]]


def test_containers_share_a_range_of_ports(own_stack: Project):
    first = own_stack.ports["redis"]
    files = write_override(
        own_stack,
        "compose.range.yaml",
        f"services:\n  redis:\n    ports: !override\n      - 127.0.0.1:{first}-{first + 2}:6379\n",
    )
    own_stack.succeed(*files, "start", "redis", "--scale", "redis=3", timeout_seconds=900)
    found = containers_of(own_stack, files, "redis")
    assert {row["ports"][0]["host_port"] for row in found} == {first, first + 1, first + 2}
    too_many = own_stack.owctl(*files, "start", "redis", "--scale", "redis=4")
    assert too_many.returncode == 2
    assert "3 in number" in too_many.stderr


def test_a_frontend_that_resolved_once_is_mended_after_the_backend_moved(own_stack: Project):
    (own_stack.directory / "once.conf").write_text(RESOLVES_ONCE)
    files = write_override(
        own_stack,
        "compose.once.yaml",
        "services:\n  frontend:\n    volumes:\n      - ./once.conf:/etc/nginx/nginx.conf:ro\n",
    )
    own_stack.succeed(*files, "start", timeout_seconds=900)
    base = f"http://127.0.0.1:{own_stack.ports['frontend']}"
    frontend = containers_of(own_stack, files, "frontend")[0]
    with httpx.Client(base_url=base, timeout=30) as client:
        assert client.get("/api/version").status_code == 200

    # Another container takes the backend's address while it is away.
    own_stack.succeed(*files, "stop", "backend")
    network = f"{own_stack.project}_open-webui-network"
    squatter = subprocess.run(
        ["docker", "run", "--rm", "-d", "--network", network, "--label",
         f"com.docker.compose.project={own_stack.project}", "--entrypoint", "sleep",
         "owctl-demo-redis:latest", "600"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    try:
        again = own_stack.succeed(*files, "start", "backend")
        assert "held an old address" in again.stderr
        with httpx.Client(base_url=base, timeout=30) as client:
            assert client.get("/api/version").status_code == 200
        after = containers_of(own_stack, files, "frontend")[0]
        assert after["container"] == frontend["container"]
    finally:
        subprocess.run(["docker", "rm", "-f", squatter.stdout.strip()], check=True,
                       capture_output=True)  # fmt: skip


@pytest.fixture
def compose_plugin() -> dict[str, str]:
    """The environment in which `docker compose` is there."""
    result = subprocess.run(
        [ROOT / "scripts" / "compose-plugin"], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        if os.environ.get("OWCTL_REQUIRE_DOCKER") == "1":
            pytest.fail(result.stderr)
        pytest.skip("docker compose cannot be had: " + result.stderr)
    return clean_environment(DOCKER_CONFIG=result.stdout.strip())


def test_a_stack_of_docker_composes_is_adopted_untouched(
    own_stack: Project, compose_plugin: dict[str, str]
):
    # owctl builds the images; compose then makes everything else anew.
    own_stack.succeed("start", "--no-wait", timeout_seconds=900)
    own_stack.succeed("stop")

    def compose(*arguments: str) -> str:
        result = subprocess.run(
            ["docker", "compose", *arguments],
            cwd=own_stack.directory,
            env=compose_plugin,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    compose("up", "-d", "postgres", "redis")
    made = {name: row["started_at"] for name, row in own_stack.status().items()}
    dry = own_stack.succeed("start", "--dry-run", "postgres", "redis")
    assert dry.stdout == "Nothing to change.\n"
    started = own_stack.succeed("start", "postgres", "redis")
    assert "already running" in started.stderr
    after = {name: row["started_at"] for name, row in own_stack.status().items()}
    assert after == made
    # And the other way round: compose leaves alone what owctl made.
    own_stack.succeed("stop")
    own_stack.succeed("start", "postgres", "redis")
    identities = compose("ps", "-q").split()
    compose("up", "-d", "postgres", "redis")
    assert compose("ps", "-q").split() == identities
    compose("down")
    assert {row["state"] for row in own_stack.status().values()} == {"missing"}


def test_dry_run_prints_the_plan_that_is_then_carried_out(own_stack: Project):
    dry = own_stack.succeed("start", "--dry-run").stdout.splitlines()
    assert "create network" in dry[0] or "build image" in dry[0]
    own_stack.succeed("start", timeout_seconds=900)
    assert own_stack.succeed("start", "--dry-run").stdout == "Nothing to change.\n"
    shutil.copy(own_stack.directory / ".env", own_stack.directory / "before.env")
    text = (own_stack.directory / ".env").read_text()
    (own_stack.directory / ".env").write_text(text + "\nRUST_LOG=debug\n")
    changed = own_stack.succeed("start", "--dry-run").stdout.splitlines()
    assert changed == [
        f"create container {own_stack.project}-rust-backend-1 (environment RUST_LOG changed)",
        f"replace container {own_stack.project}-rust-backend-1 (environment RUST_LOG changed)",
        f"start {own_stack.project}-rust-backend-1",
    ]


def test_a_start_that_was_killed_while_replacing_is_made_good_by_the_next(own_stack: Project):
    own_stack.succeed("start", timeout_seconds=900)
    with (own_stack.directory / ".env").open("a") as file:
        file.write("\nLOG_MAX_FILES=7\n")
    client = docker.from_env()
    filters = {"label": f"{PROJECT_LABEL}={own_stack.project}"}

    def names() -> list[str]:
        found = client.api.containers(all=True, filters=filters)
        return [item["Names"][0].lstrip("/") for item in found]

    with subprocess.Popen(
        [str(OWCTL), "start"],
        cwd=own_stack.directory,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 60
        while not any(re.match(r"[0-9a-f]{12}_", name) for name in names()):
            assert time.monotonic() < deadline
        process.kill()
    own_stack.succeed("start")
    assert sorted(names()) == sorted(
        f"{own_stack.project}-{service}-1" for service in own_stack.ports
    )
    assert own_stack.succeed("start", "--dry-run").stdout == "Nothing to change.\n"
    own_stack.succeed("health")
    client.close()


def test_history_says_what_changed_the_project(own_stack: Project):
    own_stack.succeed("start", "cache", timeout_seconds=900)
    own_stack.owctl("start", "cache", "--scale", "cache=2")
    own_stack.succeed("stop")
    path = Path(own_stack.directory / ".owctl" / "history.jsonl")
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(entry["command"], entry["outcome"]) for entry in entries] == [
        ("setup", "done"),
        ("start", "done"),
        ("stop", "done"),
    ]
