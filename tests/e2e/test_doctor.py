"""`owctl doctor` and what `start` refuses, by the installed owctl on real stacks."""

import json
import re
import socket
import subprocess

import docker
import pytest

from tests.e2e.conftest import Project, free_ports, remove_project

pytestmark = pytest.mark.e2e


def checks(project: Project, *words: str) -> dict[str, list[dict]]:
    """The findings of `doctor --json`, by check."""
    result = project.owctl("doctor", "--json", *words)
    assert result.returncode in (0, 1), result.stderr
    found: dict[str, list[dict]] = {}
    for row in json.loads(result.stdout)["checks"]:
        found.setdefault(row["check"], []).append(row)
    return found


def statuses(project: Project, *words: str) -> dict[str, set[str]]:
    found = checks(project, *words)
    return {name: {row["status"] for row in rows} for name, rows in found.items()}


def put_into_env(project: Project, name: str, value: str) -> None:
    path = project.directory / ".env"
    text = path.read_text()
    assert re.search(rf"^{name}=", text, re.MULTILINE)
    path.write_text(re.sub(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE))


def test_a_healthy_stack_is_fine(demo_stack: Project):
    result = demo_stack.succeed("doctor", "--json")
    document = json.loads(result.stdout)
    assert document["project"] == demo_stack.project
    wrong = [
        row
        for row in document["checks"]
        # How much room the machine has is not the stack's doing; whether another test has backed
        # it up by now is open.
        if row["status"] != "ok" and row["check"] not in ("disk", "memory", "backups")
    ]
    assert wrong == []
    shown = demo_stack.succeed("doctor")
    assert "PostgreSQL 15" in shown.stdout
    for secret in ("WEBUI_SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD"):
        assert demo_stack.environment[secret] not in shown.stdout + shown.stderr + result.stdout


def test_a_project_that_is_not_started_is_fine_too(own_stack: Project):
    found = statuses(own_stack, "--ignore", "disk", "--ignore", "memory")
    assert found["images"] <= {"ok", "warning"}
    del found["images"]
    assert set().union(*found.values()) <= {"ok", "skipped"}


def test_an_open_env_with_weak_secrets(own_stack: Project):
    (own_stack.directory / ".env").chmod(0o644)
    put_into_env(own_stack, "REDIS_PASSWORD", "changeme")
    put_into_env(own_stack, "WEBUI_SECRET_KEY", "short7")
    details = [row["detail"] for row in checks(own_stack)["env"]]
    assert len(details) == 3
    assert any("mode 0644" in detail for detail in details)
    assert any("REDIS_PASSWORD has a widely known value" in detail for detail in details)
    assert any("WEBUI_SECRET_KEY is weak" in detail for detail in details)
    assert own_stack.owctl("doctor").returncode == 0


def test_an_image_that_is_absent_or_may_change(own_stack: Project):
    override = own_stack.directory / "compose.absent.yaml"
    override.write_text(
        "services:\n  extra:\n    image: owctl-test-absent\n    pull_policy: never\n"
    )
    files = ["-f", "compose.yaml", "-f", "compose.demo.yaml", "-f", "compose.absent.yaml"]
    result = own_stack.owctl(*files, "doctor", "--json")
    assert result.returncode == 1
    rows = [row for row in json.loads(result.stdout)["checks"] if row["check"] == "images"]
    assert {"failed", "warning"} <= {row["status"] for row in rows}
    ignored = own_stack.owctl(*files, "doctor", "--ignore", "images")
    assert ignored.returncode == 0


def test_a_port_of_a_process_is_found_before_anything_is_made(own_stack: Project):
    port = own_stack.ports["rust-backend"]
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        assert own_stack.owctl("doctor").returncode == 1
        result = own_stack.owctl("start")
        # What is not about to be started is not in the way.
        own_stack.succeed("start", "redis", timeout_seconds=900)
    assert result.returncode == 1
    assert f"port {port} of 127.0.0.1, which rust-backend publishes, is held by process" in (
        result.stderr
    )
    assert "Try: stop what holds it, or set RUST_PORT in .env" in result.stderr
    assert "creating" not in result.stderr
    assert own_stack.status()["postgres"]["state"] == "missing"


def test_a_port_of_another_projects_container(own_stack: Project, demo_stack: Project):
    port = demo_stack.ports["frontend"]
    put_into_env(own_stack, "OPEN_WEBUI_PORT", str(port))
    (row,) = checks(own_stack)["ports"]
    assert row["status"] == "failed"
    assert (
        f"container {demo_stack.project}-frontend-1 (project {demo_stack.project})"
        in (row["detail"])
    )
    result = own_stack.owctl("start")
    assert result.returncode == 1
    assert demo_stack.project in result.stderr
    client = docker.from_env()
    label = f"com.docker.compose.project={own_stack.project}"
    assert client.volumes.list(filters={"label": label}) == []
    client.close()


def test_a_password_that_the_volume_does_not_know_and_its_repair(own_stack: Project):
    own_stack.succeed("start", timeout_seconds=900)
    put_into_env(own_stack, "POSTGRES_PASSWORD", "Another2Another2Another2")
    running = {name: row["started_at"] for name, row in own_stack.status().items()}

    refused = own_stack.owctl("start")
    assert refused.returncode == 1
    volume = f"{own_stack.project}_postgres_data"
    assert f"the database volume {volume} does not accept POSTGRES_PASSWORD of .env" in (
        refused.stderr
    )
    assert "Try: owctl setup --sync-password" in refused.stderr
    assert {name: row["started_at"] for name, row in own_stack.status().items()} == running

    # The same when the containers are gone, and with them every trace of the old one.
    own_stack.succeed("stop")
    assert own_stack.owctl("start").returncode == 1
    assert statuses(own_stack)["password"] == {"failed"}
    assert "Another2" not in own_stack.owctl("doctor").stdout
    stopped = own_stack.owctl("setup", "--sync-password")
    assert stopped.returncode == 1
    assert "Try: owctl start postgres" in stopped.stderr

    alone = own_stack.succeed("start", "postgres")
    assert "does not accept" in alone.stderr
    dry = own_stack.succeed("setup", "--sync-password", "--dry-run")
    assert "Would" in dry.stdout
    own_stack.succeed("setup", "--sync-password")
    again = own_stack.succeed("setup", "--sync-password", "--json")
    assert json.loads(again.stdout)["password"] == "unchanged"
    own_stack.succeed("start")
    own_stack.succeed("health")
    assert statuses(own_stack)["password"] == {"ok"}
    history = (own_stack.directory / ".owctl" / "history.jsonl").read_text()
    assert "setup --sync-password" in history
    assert "Another2" not in history


def test_a_volume_of_another_postgres_is_refused(own_stack: Project):
    own_stack.succeed("start", "postgres", timeout_seconds=900)
    own_stack.succeed("shell", "postgres", "sh", "-c", 'echo 14 > "$PGDATA/PG_VERSION"')
    own_stack.succeed("stop")
    assert statuses(own_stack)["postgres-version"] == {"failed"}
    result = own_stack.owctl("start")
    assert result.returncode == 1
    assert "is of PostgreSQL 14, and the image owctl-demo-postgres:latest is PostgreSQL 15" in (
        result.stderr
    )
    assert "Try: owctl upgrade --postgres-major" in result.stderr
    assert "or set an image of PostgreSQL 14 (POSTGRES_IMAGE in .env)" in result.stderr
    assert {row["state"] for row in own_stack.status().values()} == {"missing"}


def test_a_project_on_a_full_disk(own_stack: Project):
    folder = own_stack.directory.parent / "full"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "owctl-test", str(folder)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("only root can make a small file system")
    try:
        name = f"{own_stack.project}-full"
        full = Project(folder, name, own_stack.ports)
        copy = ["cp", "-r", f"{own_stack.directory}/.", str(folder)]
        subprocess.run(copy, check=True)
        put_into_env(full, "COMPOSE_PROJECT_NAME", name)
        put_into_env(full, "OPEN_WEBUI_PORT", str(free_ports(1)[0]))
        assert "failed" in statuses(full)["disk"]
        result = full.owctl("start", "redis")
        assert result.returncode == 1
        assert "Nothing was started" in result.stderr
        full.succeed("start", "redis", "--ignore", "disk", timeout_seconds=900)
    finally:
        remove_project(name)
        subprocess.run(["umount", str(folder)], check=True)


def test_an_unchanged_stack_is_not_examined(demo_stack: Project):
    """Ports that it holds itself, and whatever else there is, cannot be in its way."""
    result = demo_stack.succeed("start")
    assert "already running" in result.stderr
    assert "Warning" not in result.stderr
