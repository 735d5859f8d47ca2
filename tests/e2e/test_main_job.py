"""The main job from an empty folder to a stopped stack, by the installed owctl."""

import json
import re
import signal
import stat
import subprocess
import urllib.request

import pytest

from tests.e2e.conftest import OWCTL, Project, clean_environment

pytestmark = pytest.mark.e2e
SERVICES = ["postgres", "redis", "rust-backend", "socketio-bridge", "frontend"]


def test_setup_writes_a_private_environment_with_secrets(own_stack: Project):
    path = own_stack.directory / ".env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name in ("WEBUI_SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD"):
        assert re.fullmatch(r"[A-Za-z0-9]{32,}", own_stack.environment[name]), name


def test_from_nothing_to_a_stack_that_answers_and_back(own_stack: Project):
    before = own_stack.owctl("health")
    assert before.returncode == 3
    assert "missing" in before.stdout

    started = own_stack.succeed("start", timeout_seconds=900)
    for name in SERVICES:
        assert name in started.stdout
    assert f"http://localhost:{own_stack.ports['frontend']}" in started.stdout

    again = own_stack.succeed("start")
    assert "already running" in again.stderr

    report = json.loads(own_stack.succeed("health", "--json").stdout)
    assert report["status"] == "healthy"
    assert [row["service"] for row in report["services"]] == SERVICES
    assert {row["status"] for row in report["services"]} == {"healthy"}

    states = own_stack.status()
    assert {row["state"] for row in states.values()} == {"running"}

    url = f"http://127.0.0.1:{own_stack.ports['frontend']}/health"
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.status == 200

    identities = {name: row["started_at"] for name, row in states.items()}
    own_stack.succeed("restart", "backend")
    after = own_stack.status()
    changed = {name for name in SERVICES if after[name]["started_at"] != identities[name]}
    assert changed == {"rust-backend"}

    own_stack.succeed("stop")
    assert {row["state"] for row in own_stack.status().values()} == {"missing"}
    assert "nothing to stop" in own_stack.succeed("stop").stderr


def test_a_change_in_env_replaces_only_what_it_touches(own_stack: Project):
    own_stack.succeed("start", "cache")
    unchanged = own_stack.status()["redis"]["started_at"]
    own_stack.succeed("start", "db")
    assert own_stack.status()["redis"]["started_at"] == unchanged
    with (own_stack.directory / ".env").open("a") as file:
        file.write("\nPOSTGRES_INITDB_ARGS=-E UTF8 --locale=C\n")
    override = own_stack.directory / "compose.extra.yaml"
    override.write_text("services:\n  redis:\n    environment:\n      EXTRA: one\n")
    files = ["-f", "compose.yaml", "-f", "compose.demo.yaml", "-f", "compose.extra.yaml"]
    dry = own_stack.succeed(*files, "start", "--dry-run", "redis", "db")
    assert "environment EXTRA" in dry.stdout
    assert "postgres" not in dry.stdout
    assert own_stack.status()["redis"]["started_at"] == unchanged
    started = own_stack.succeed(*files, "start", "redis")
    assert "environment EXTRA" in started.stdout
    after = own_stack.status()
    assert after["redis"]["started_at"] != unchanged
    assert after["redis"]["container"] == f"{own_stack.project}-redis-1"


def test_a_container_that_dies_is_reported_with_its_code_and_last_words(own_stack: Project):
    override = own_stack.directory / "compose.broken.yaml"
    override.write_text(
        "services:\n"
        "  redis:\n"
        "    restart: 'no'\n"
        "    command: ['sh', '-c', 'echo the disk is on fire; exit 7']\n"
    )
    files = ["-f", "compose.yaml", "-f", "compose.demo.yaml", "-f", "compose.broken.yaml"]
    result = own_stack.owctl(*files, "start", "redis")
    assert result.returncode == 1
    assert "exited with code 7" in result.stderr
    assert "the disk is on fire" in result.stderr
    assert "Try: owctl logs" in result.stderr


def test_a_container_that_runs_out_of_memory_says_so(own_stack: Project):
    override = own_stack.directory / "compose.hungry.yaml"
    override.write_text(
        "services:\n"
        "  redis:\n"
        "    restart: 'no'\n"
        "    # Twice, as a shell alone would be replaced by the command that is killed.\n"
        "    command: ['sh', '-c', 'tail /dev/zero; tail /dev/zero']\n"
        "    deploy: !override {resources: {limits: {memory: 16m}}}\n"
    )
    files = ["-f", "compose.yaml", "-f", "compose.demo.yaml", "-f", "compose.hungry.yaml"]
    result = own_stack.owctl(*files, "start", "redis")
    assert result.returncode == 1
    assert "ran out of memory" in result.stderr


def test_a_restart_loop_is_recognised_instead_of_waited_for(own_stack: Project):
    override = own_stack.directory / "compose.loop.yaml"
    override.write_text(
        "services:\n  redis:\n    command: ['sh', '-c', 'echo once more; exit 3']\n"
    )
    files = ["-f", "compose.yaml", "-f", "compose.demo.yaml", "-f", "compose.loop.yaml"]
    result = own_stack.owctl(*files, "start", "redis", timeout_seconds=60)
    assert result.returncode == 1
    assert "keeps restarting" in result.stderr
    assert "exited with code 3" in result.stderr


def test_a_service_that_never_answers_times_out_and_says_what_its_probe_said(own_stack: Project):
    override = own_stack.directory / "compose.mute.yaml"
    override.write_text("services:\n  redis:\n    command: ['sleep', '600']\n")
    files = ["-f", "compose.yaml", "-f", "compose.demo.yaml", "-f", "compose.mute.yaml"]
    result = own_stack.owctl(*files, "start", "redis", "--timeout", "2")
    assert result.returncode == 6
    assert "redis was not ready within 2 s" in result.stderr
    assert "Try:" in result.stderr


def test_a_taken_port_names_the_port_and_leaves_nothing_half_made(own_stack: Project):
    import socket

    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", own_stack.ports["redis"]))
        squatter.listen()
        result = own_stack.owctl("start", "redis")
    assert result.returncode == 1
    assert str(own_stack.ports["redis"]) in result.stderr
    assert "Try:" in result.stderr
    assert own_stack.status()["redis"]["state"] == "missing"
    own_stack.succeed("start", "redis")


def test_ctrl_c_ends_with_130_and_nothing_half_made(own_stack: Project):
    override = own_stack.directory / "compose.mute.yaml"
    override.write_text("services:\n  postgres:\n    command: ['sleep', '600']\n")
    command = [str(OWCTL), "-f", "compose.yaml", "-f", "compose.demo.yaml"]
    command += ["-f", "compose.mute.yaml", "start"]
    with subprocess.Popen(
        command,
        cwd=own_stack.directory,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "postgres: waiting" in line:
                break
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    states = {name: row["state"] for name, row in own_stack.status().items()}
    assert states["postgres"] == "running"
    assert states["rust-backend"] == "missing"
    assert "created" not in states.values()


def test_two_owctls_at_once_the_second_is_told_who_works(own_stack: Project):
    override = own_stack.directory / "compose.mute.yaml"
    override.write_text(
        "services:\n  redis:\n    command: ['sh', '-c', 'trap exit TERM; sleep 600 & wait']\n"
    )
    command = [str(OWCTL), "-f", "compose.yaml", "-f", "compose.demo.yaml"]
    command += ["-f", "compose.mute.yaml", "start", "redis"]
    with subprocess.Popen(
        command,
        cwd=own_stack.directory,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stderr is not None
        for line in first.stderr:
            if "redis: waiting" in line:
                break
        second = own_stack.owctl("stop")
        # Who only looks is never kept waiting.
        assert own_stack.status()["redis"]["state"] == "running"
        assert own_stack.owctl("logs", "redis").returncode == 0
        with subprocess.Popen(
            [str(OWCTL), "stop", "--lock-wait", "60"],
            cwd=own_stack.directory,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as patient:
            assert patient.poll() is None
            # The lock dies with its holder.
            first.kill()
            first.communicate(timeout=60)
            _, errors = patient.communicate(timeout=120)
    assert patient.returncode == 0, errors
    assert second.returncode == 8
    assert "owctl start" in second.stderr
    assert str(first.pid) in second.stderr
