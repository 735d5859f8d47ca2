"""`owctl health` on real containers: documents, exit codes, no secrets."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from owctl.cli import run
from owctl.compose.model import Service
from owctl.engine.connection import Engine
from tests.engine.health_bench import PASSWORD, REDIS, Bench, open_bench

pytestmark = pytest.mark.engine

COMPOSE_FILE = f"""
services:
  redis:
    image: {REDIS}
    environment:
      REDIS_PASSWORD: edited-since-then
  worker:
    image: {REDIS}
    x-owctl:
      probe: {{type: none}}
"""


@pytest.fixture(scope="module")
def bench(engine: Engine) -> Iterator[Bench]:
    with open_bench(engine) as bench:
        redis = Service("redis", image=REDIS)
        command = ("redis-server", "--requirepass", PASSWORD)
        bench.until(bench.run(redis, *command, publish=6379), "healthy")
        yield bench


@pytest.fixture
def arguments(bench: Bench, tmp_path: Path) -> list[str]:
    (tmp_path / "compose.yaml").write_text(COMPOSE_FILE)
    return ["-C", str(tmp_path), "-p", bench.project, "health"]


def test_json(bench: Bench, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*arguments, "--json"]) == 3
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["schema"], document["project"]) == (1, bench.project)
    assert document["status"] == "degraded"
    redis, worker = document["services"]
    assert (redis["service"], redis["status"], redis["detail"]) == ("redis", "healthy", "PONG")
    assert redis["container"] == f"{bench.project}-redis-1"
    assert redis["latency_ms"] > 0
    assert worker == {
        "service": "worker",
        "container": None,
        "state": None,
        "engine_health": None,
        "status": "missing",
        "probe": None,
        "target": None,
        "latency_ms": None,
        "detail": "there is no container",
    }
    assert err == ""
    assert PASSWORD not in out


def test_one_service_by_its_short_name(
    bench: Bench, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*arguments, "cache", "--probe-timeout", "2"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split() == ["SERVICE", "STATUS", "PROBE", "LATENCY", "DETAIL"]
    assert out.splitlines()[1].startswith("redis    healthy  redis")
    assert len(out.splitlines()) == 2
    assert err.startswith(f"{bench.project} is healthy: 1 of 1 healthy, asked in ")


def test_only_the_named_services_are_shown(
    bench: Bench, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run([*arguments, "worker", "--json"])
    assert [row["service"] for row in json.loads(capsys.readouterr().out)["services"]] == ["worker"]


@pytest.mark.parametrize(
    ("more", "code"), [(["postgers"], 2), (["--probe-timeout", "0"], 2), (["--format", "xml"], 2)]
)
def test_usage(
    arguments: list[str], more: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*arguments, *more]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Try: " in err


def test_configuration_and_engine_errors(arguments: list[str], tmp_path: Path) -> None:
    # In a process of its own: docker-py leaves a socket open that could not be connected.
    def exit_code() -> int:
        command = [sys.executable, "-m", "owctl", *arguments]
        environment = os.environ | {"DOCKER_HOST": f"unix://{tmp_path}/no.sock"}
        return subprocess.run(command, env=environment, capture_output=True).returncode

    assert exit_code() == 5
    (tmp_path / "compose.yaml").write_text("services: [")
    assert exit_code() == 4
