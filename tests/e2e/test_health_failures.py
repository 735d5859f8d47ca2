"""`owctl health` on a stack that is not well: paused, stopped, locked out, dead, never started."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator

import docker
import pytest

from tests.e2e.conftest import (
    OWCTL,
    PROJECT_LABEL,
    Project,
    clean_environment,
    make_project,
    remove_project,
)
from tests.e2e.test_health import SERVICES, watch

pytestmark = pytest.mark.e2e


def container_of(project: Project, service: str):
    client = docker.from_env()
    labels = [f"{PROJECT_LABEL}={project.project}", f"com.docker.compose.service={service}"]
    try:
        (found,) = client.containers.list(all=True, filters={"label": labels})
        return found
    finally:
        client.close()


@pytest.fixture(scope="module")
def sick_stack(tmp_path_factory, demo_base_image: str, demo_stack: Project) -> Iterator[Project]:
    """A running stack of this module's own, for tests that break it and mend it again."""
    project = make_project(tmp_path_factory.mktemp("sick") / "stack", demo_base_image)
    try:
        project.succeed("start", timeout_seconds=900)
        yield project
    finally:
        remove_project(project.project)


@pytest.fixture
def mended(sick_stack: Project) -> Iterator[Project]:
    """The stack, made healthy again after the test."""
    try:
        yield sick_stack
    finally:
        for service in SERVICES:
            container = container_of(sick_stack, service)
            if container.status == "paused":
                container.unpause()
            elif container.status != "running":
                container.start()
        sick_stack.succeed("health", "--wait", "--timeout", "60")


def test_watching_in_a_pipe_tells_changes_only(mended: Project):
    process = watch(mended, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        first = [process.stdout.readline().decode().split() for _ in SERVICES]
        container_of(mended, "redis").pause()
        changed = process.stdout.readline().decode()
        container_of(mended, "redis").unpause()
        again = process.stdout.readline().decode()
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
    assert [words[1:3] for words in first] == [[name, "healthy"] for name in SERVICES]
    assert changed.split()[1:3] == ["redis", "unhealthy"]
    assert "paused" in changed
    assert again.split()[1:3] == ["redis", "healthy"]
    assert rest == b""
    assert process.returncode == 130


def test_a_paused_service_fails_probe_and_deep_check(mended: Project):
    container_of(mended, "redis").pause()
    result = mended.owctl("health", "--deep", "--json")
    assert result.returncode == 3
    document = json.loads(result.stdout)
    assert document["status"] == "degraded"
    by_check = {row["check"]: row for row in document["deep"]}
    assert (by_check["set-get-del"]["status"], by_check["set-get-del"]["detail"]) == (
        "unhealthy",
        "paused",
    )
    assert by_check["login"]["status"] == "healthy"

    plugin = mended.owctl("health", "--format", "nagios")
    assert plugin.returncode == 2
    assert plugin.stdout.startswith(f"CRITICAL - {mended.project}: 4 of 5 healthy; ")

    metrics = mended.owctl("health", "--format", "prometheus")
    assert metrics.returncode == 3
    assert re.search(r'owctl_service_up\{.*service="redis".*\} 0\.0\n', metrics.stdout)
    assert f'owctl_stack_healthy{{project="{mended.project}"}} 0' in metrics.stdout


def test_a_wait_that_times_out_says_for_what(mended: Project):
    container_of(mended, "redis").pause()
    started = time.monotonic()
    result = mended.owctl("health", "--wait", "--timeout", "1", "--json")
    assert time.monotonic() - started < 10
    assert result.returncode == 6
    assert json.loads(result.stdout)["status"] == "degraded"
    assert "Error: 1 service was not healthy within 1 s:\n  redis: unhealthy, paused" in (
        result.stderr
    )
    assert "Try: owctl logs --tail 200 redis" in result.stderr


def test_a_stopped_service_is_waited_for_until_somebody_starts_it(mended: Project):
    container = container_of(mended, "rust-backend")
    container.stop(timeout=1)
    process = subprocess.Popen(
        [str(OWCTL), "health", "--wait", "--timeout", "90"],
        cwd=mended.directory,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        # It says within a second or two what it waits for.
        lines = iter(process.stderr.readline, b"")
        assert any("rust-backend: stopped, exited with" in line.decode() for line in lines)
        container.start()
        out, _ = process.communicate(timeout=100)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "unhealthy" not in out.decode()


def test_the_proxy_check_names_what_is_behind_it(mended: Project):
    container_of(mended, "rust-backend").stop(timeout=1)
    document = json.loads(mended.owctl("health", "--deep", "--json").stdout)
    by_check = {row["check"]: row for row in document["deep"]}
    assert by_check["proxy-api"]["status"] == "unhealthy"
    assert re.match(
        r"HTTP 50[24] from the frontend: rust-backend is stopped \(exited with \d+\)"
        r"|no complete answer within 5 s from the frontend: rust-backend is stopped",
        by_check["proxy-api"]["detail"],
    ), by_check["proxy-api"]


def test_a_password_that_the_volume_does_not_know(mended: Project):
    """PostgreSQL answers, and lets nobody in: only the deep check sees it."""
    container = container_of(mended, "postgres")

    def set_password(value: str) -> None:
        sql = f"alter role open_webui password '{value}'"
        command = ["psql", "-q", "-U", "open_webui", "-d", "open_webui", "-c", sql]
        assert container.exec_run(command).exit_code == 0

    set_password("of-another-time")
    try:
        assert mended.owctl("health", "db").returncode == 0
        result = mended.owctl("health", "--deep", "db", "--json")
    finally:
        set_password(mended.environment["POSTGRES_PASSWORD"])
    assert result.returncode == 3
    (check,) = json.loads(result.stdout)["deep"]
    assert check["status"] == "unhealthy"
    assert check["detail"].startswith('password authentication failed for user "open_webui"')
    assert "owctl shell db" in check["detail"]


def test_a_container_that_died_ends_the_wait_at_once(own_stack: Project, demo_stack: Project):
    """Without a restart policy nobody starts it again; the error shows why it died."""
    (own_stack.directory / "compose.yaml").write_text(
        f"""
name: {own_stack.project}
services:
  doomed:
    image: owctl-demo-redis:latest
    entrypoint: [sh, -c, "echo the disk is gone; exit 3"]
    x-owctl: {{probe: {{type: redis}}}}
"""
    )
    environment = {"COMPOSE_FILE": "compose.yaml"}
    own_stack.owctl("start", "--no-wait", environment=environment)
    started = time.monotonic()
    result = own_stack.owctl("health", "--wait", "--timeout", "60", environment=environment)
    assert time.monotonic() - started < 30
    assert result.returncode == 1
    assert "Error: doomed exited with code 3." in result.stderr
    assert "the disk is gone" in result.stderr
    assert "Try: owctl logs --tail 200 doomed" in result.stderr


def test_a_stack_that_was_never_started(own_stack: Project):
    result = own_stack.owctl("health", "--wait", "--timeout", "0.5")
    assert result.returncode == 6
    assert "Try: owctl start" in result.stderr
    plugin = own_stack.owctl("health", "--format", "nagios", "--deep")
    assert plugin.returncode == 2
    assert "0 of 5 healthy" in plugin.stdout
