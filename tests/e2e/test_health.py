"""`owctl health` in all its forms, on a real stack that is well, and on one that is not."""

import json
import os
import pty
import re
import select
import signal
import stat
import subprocess
import time
import urllib.request
from collections.abc import Iterator

import docker
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import OWCTL, PROJECT_LABEL, Project, clean_environment

pytestmark = pytest.mark.e2e
SERVICES = ["postgres", "redis", "rust-backend", "socketio-bridge", "frontend"]
DEEP = [
    ("postgres", "login"),
    ("redis", "set-get-del"),
    ("socketio-bridge", "polling"),
    ("socketio-bridge", "websocket"),
    ("frontend", "proxy-api"),
    ("frontend", "proxy-socketio"),
]


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
    from tests.e2e.conftest import make_project, remove_project

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


# --- a stack that is well ----------------------------------------------------------------------


def test_deep_uses_every_service(demo_stack: Project):
    sessions = f"http://127.0.0.1:{demo_stack.ports['socketio-bridge']}/health"
    result = demo_stack.succeed("health", "--deep", "--json")
    document = json.loads(result.stdout)
    assert document["status"] == "healthy"
    assert [row["service"] for row in document["services"]] == SERVICES
    assert [(row["service"], row["check"]) for row in document["deep"]] == DEEP
    for row in document["deep"]:
        assert set(row) == {"service", "container", "check", "status", "latency_ms", "detail"}
        assert row["status"] == "healthy", row
        assert row["latency_ms"] > 0
    assert re.search(r"signed in, PostgreSQL \d+\.\d+, \d+ tables", document["deep"][0]["detail"])
    assert demo_stack.environment["POSTGRES_PASSWORD"] not in result.stdout
    # The clients have left again.
    with urllib.request.urlopen(sessions, timeout=10) as answer:
        assert json.load(answer)["active_sessions"] == 0


def test_deep_leaves_no_key_behind(demo_stack: Project):
    demo_stack.succeed("health", "--deep", "redis")
    keys = demo_stack.succeed("shell", "redis", "redis-cli", "--scan", "--pattern", "owctl:*")
    assert keys.stdout.strip() == ""


def test_without_deep_the_document_has_no_deep_key(demo_stack: Project):
    assert "deep" not in json.loads(demo_stack.succeed("health", "--json").stdout)


def test_deep_rows_fit_the_table(demo_stack: Project):
    result = demo_stack.succeed("health", "--deep", "db")
    lines = result.stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["postgres", "healthy", "postgres"],
        ["postgres", "healthy", "login"],
    ]
    assert "1 of 1 healthy, 1 of 1 deep checks passed" in result.stderr


def test_deep_ignores_a_proxy_of_the_environment(demo_stack: Project):
    proxy = "http://127.0.0.1:9"
    environment = {"HTTP_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": "", "no_proxy": ""}
    demo_stack.succeed("health", "--deep", "bridge", "web", environment=environment)


def test_waiting_for_what_is_healthy_returns_at_once(demo_stack: Project):
    started = time.monotonic()
    result = demo_stack.succeed("health", "--wait", "--json")
    assert time.monotonic() - started < 10
    assert json.loads(result.stdout)["status"] == "healthy"


def test_prometheus_text_and_file(demo_stack: Project, tmp_path):
    printed = demo_stack.succeed("health", "--format", "prometheus")
    families = {each.name: each for each in text_string_to_metric_families(printed.stdout)}
    up = families["owctl_service_up"].samples
    assert [(each.labels["service"], each.value) for each in up] == [(s, 1) for s in SERVICES]
    assert {each.labels["project"] for each in up} == {demo_stack.project}
    (moment,) = families["owctl_health_checked_timestamp_seconds"].samples
    assert abs(moment.value - time.time()) < 60
    assert printed.stderr == ""

    target = tmp_path / "owctl.prom"
    silent = demo_stack.succeed("health", "--format", "prometheus", "--output", target)
    assert (silent.stdout, silent.stderr) == ("", "")
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert {each.name for each in text_string_to_metric_families(target.read_text())} == set(
        families
    )


def test_nagios_ok(demo_stack: Project):
    result = demo_stack.succeed("health", "--format", "nagios")
    assert result.stdout.startswith(
        f"OK - {demo_stack.project}: 5 of 5 healthy | healthy=5;;5:;0;5"
    )
    assert result.stdout.count("\n") == 1


# --- watching ----------------------------------------------------------------------------------


def watch(project: Project, *arguments: str, **streams) -> subprocess.Popen:
    command = [str(OWCTL), "health", "--watch", "--interval", "0.2", *arguments]
    return subprocess.Popen(
        command, cwd=project.directory, env=clean_environment(TERM="xterm"), **streams
    )


def test_watching_in_a_pipe_as_json(demo_stack: Project):
    process = watch(demo_stack, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        documents = [json.loads(process.stdout.readline()) for _ in range(3)]
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == b""
    assert {document["status"] for document in documents} == {"healthy"}
    assert len({document["checked_at"] for document in documents}) == 3


def test_watching_on_a_terminal(demo_stack: Project):
    leader, follower = pty.openpty()
    os.set_blocking(leader, False)
    process = watch(demo_stack, stdin=follower, stdout=follower, stderr=follower)
    try:
        seen = read_until(leader, rb"asked every 0.2 s.*asked every 0.2 s", seconds=20)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
        seen += read_until(leader, None, seconds=0.2)
    finally:
        process.kill()
        process.wait()
        os.close(leader)
        os.close(follower)
    assert process.returncode == 130
    assert any(bar in seen.decode() for bar in "▁▂▃▄▅▆▇█")
    assert f"{demo_stack.project} is healthy" in seen.decode()
    # The cursor was never hidden, no other screen opened; nothing is complained of.
    assert b"\x1b[?" not in seen
    assert b"Error" not in seen
    assert b"Traceback" not in seen


def read_until(descriptor: int, pattern: bytes | None, *, seconds: float) -> bytes:
    """Return what comes until the pattern has been seen; without one, all within the time."""
    deadline = time.monotonic() + seconds
    data = b""
    while (left := deadline - time.monotonic()) > 0:
        if select.select([descriptor], [], [], left)[0]:
            data += os.read(descriptor, 65536)
        if pattern is not None and re.search(pattern, data, re.DOTALL):
            return data
    assert pattern is None, data
    return data


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


# --- a stack that is not -----------------------------------------------------------------------


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
    assert re.search(r'owctl_service_up\{.*service="redis".*\} 0\n', metrics.stdout)
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
    # It says within a second or two what it waits for.
    for line in process.stderr:
        if "rust-backend: stopped" in line.decode():
            break
    assert process.poll() is None
    container.start()
    out, _ = process.communicate(timeout=90)
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
