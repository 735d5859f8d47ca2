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

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import OWCTL, Project, clean_environment
from tests.engine.engine_helpers import wait_until

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
    # The clients leave again, as soon as the bridge has heard of it.
    wait_until(lambda: active_sessions(sessions) == 0, "the clients have left")


def active_sessions(address: str) -> int:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return json.load(answer)["active_sessions"]


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
