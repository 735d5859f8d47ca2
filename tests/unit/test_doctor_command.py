"""`owctl doctor` where there is no engine: what is still checked, exit codes, the document."""

import json

import pytest

from owctl.cli import run
from owctl.doctor.finding import CHECKS

COMPOSE = """\
services:
  postgres:
    image: postgres:16-alpine
    environment:
      POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?set it}
    ports: ["5432:5432"]
"""
PASSWORD = "Zk3f8sQp1LmW9xTb7VcR"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("POSTGRES_PASSWORD", "COMPOSE_FILE", "DOCKER_CONTEXT", "COMPOSE_PROJECT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / ".env").touch(mode=0o600)
    (tmp_path / ".env").write_text(f"POSTGRES_PASSWORD={PASSWORD}\n")
    return tmp_path


def rows(capsys) -> tuple[dict, dict[str, str]]:
    document = json.loads(capsys.readouterr().out)
    return document, {row["check"]: row["status"] for row in document["checks"]}


def test_no_engine_is_5_and_the_rest_is_checked(folder, capsys):
    assert run(["-p", "proj", "doctor", "--json"]) == 5
    document, states = rows(capsys)
    assert list(document) == ["schema", "project", "status", "checks"]
    assert (document["schema"], document["project"], document["status"]) == (1, "proj", "failed")
    assert set(document["checks"][0]) == {"check", "status", "detail", "hint"}
    assert list(dict.fromkeys(row["check"] for row in document["checks"])) == list(CHECKS)
    assert states["engine"] == "failed"
    assert states["configuration"] == states["env"] == "ok"
    assert states["exposure"] == "warning"
    assert states["ports"] == states["password"] == "skipped"


def test_a_check_that_is_ignored_decides_nothing(folder, capsys):
    assert run(["doctor", "--json", "--ignore", "engine", "--ignore", "exposure"]) == 0
    document, states = rows(capsys)
    assert document["status"] == "ok"
    assert states["engine"] == states["exposure"] == "skipped"


def test_files_that_cannot_be_used_are_4(folder, capsys):
    (folder / ".env").unlink()
    assert run(["doctor", "--json", "--ignore", "engine"]) == 4
    document, states = rows(capsys)
    assert document["project"] is None
    assert states["configuration"] == states["env"] == "failed"


def test_settings_that_cannot_be_read_are_4_and_name_the_line(folder, capsys):
    (folder / ".env").write_text("A=1\nB=${\n")
    assert run(["doctor", "--ignore", "engine"]) == 4
    out = capsys.readouterr().out
    assert ".env:2" in out
    assert "Try (configuration): " in out


def test_a_hard_finding_is_1(folder, capsys):
    (folder / ".env").write_text("")
    (folder / "compose.yaml").write_text(COMPOSE.replace(":?set it", ":-"))
    assert run(["doctor", "--ignore", "engine"]) == 1
    assert "POSTGRES_PASSWORD is empty" in capsys.readouterr().out


def test_an_unknown_check_is_2(folder, capsys):
    assert run(["doctor", "--ignore", "weather"]) == 2
    assert "weather" in capsys.readouterr().err
    assert run(["start", "--ignore", "engine"]) == 2


@pytest.mark.parametrize("words", [["doctor"], ["doctor", "--json"]])
def test_no_secret_is_shown(folder, capsys, words):
    run(words)
    out, err = capsys.readouterr()
    assert PASSWORD not in out + err


def test_a_password_goes_with_no_other_wish(folder, capsys):
    assert run(["setup", "--sync-password", "--demo"]) == 2
    assert "Try: " in capsys.readouterr().err
    assert run(["setup", "--sync-password"]) == 5
