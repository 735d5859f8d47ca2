"""`owctl setup` without an engine: which files it writes, keeps and refuses."""

import json
import os
import re
import stat
import subprocess
import sys

import pytest

from owctl.cli import run
from owctl.environment.dotenv import read_environment_file

SECRETS = ("WEBUI_SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD")
CHECKOUT_COMPOSE = """\
services:
  postgres:
    image: postgres:16-alpine
    environment:
      POSTGRES_DB: ${POSTGRES_DB:-open_webui}
      POSTGRES_USER: ${POSTGRES_USER:-open_webui}
      POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:-open_webui_password}
    volumes:
      - postgres_data:/var/lib/postgresql/data
  rust-backend:
    image: backend
    environment:
      WEBUI_SECRET_KEY: ${WEBUI_SECRET_KEY:-}
volumes:
  postgres_data:
"""
CHECKOUT_EXAMPLE = """\
# Settings of the stack
POSTGRES_DB=openwebui
POSTGRES_USER=postgres
POSTGRES_PASSWORD=postgres   # use a stronger one

export WEBUI_SECRET_KEY=""
DATABASE_URL=postgresql://postgres:postgres@localhost:5432/openwebui
# DATABASE_URL=postgresql://postgres:postgres@postgres:5432/openwebui
REDIS_URL=redis://redis:6379
CORS_ALLOW_ORIGIN=*
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "runtime").mkdir()
    for name in (*SECRETS, "COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.chdir(project)
    monkeypatch.setenv("PWD", str(project))
    return project


@pytest.fixture
def checkout(folder):
    (folder / "docker-compose.yaml").write_text(CHECKOUT_COMPOSE)
    (folder / "env.example").write_text(CHECKOUT_EXAMPLE)
    return folder


def values(folder):
    read = read_environment_file(folder / ".env", {})
    assert not read.problems
    return read.values


def snapshot(folder):
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def document(capsys, *words):
    assert run(["setup", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def failure(capsys, *words, code):
    assert run([*words]) == code
    return capsys.readouterr().err


def test_an_empty_folder_gets_compose_yaml_and_a_private_env(folder, capsys):
    old = os.umask(0o022)
    try:
        result = document(capsys)
    finally:
        os.umask(old)

    assert result["schema"] == 1
    assert result["project"] == "open-webui-rust"
    assert result["directory"] == str(folder)
    assert result["generated"] == list(SECRETS)
    assert {(file["path"], file["action"]) for file in result["files"]} == {
        ("compose.yaml", "created"),
        ("compose.scale.yaml", "created"),
        ("compose.dev.yaml", "created"),
        (".env", "created"),
    }
    assert any("not checked" in note for note in result["notes"])
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "compose.yaml").stat().st_mode) == 0o644
    secrets = [values(folder)[name] for name in SECRETS]
    assert all(re.fullmatch(r"[A-Za-z0-9]{32,}", secret) for secret in secrets)
    assert len(set(secrets)) == 3


def test_no_secret_is_shown(folder, capsys):
    assert run(["setup"]) == 0
    assert run(["setup", "--debug"]) == 0
    assert run(["setup", "--json"]) == 0
    shown = capsys.readouterr()
    history = (folder / ".owctl" / "history.jsonl").read_text()
    for name in SECRETS:
        assert values(folder)[name] not in shown.out + shown.err + history
    assert "owctl start" in shown.err
    assert str(folder) in shown.out


def test_a_second_run_changes_nothing(folder, capsys):
    document(capsys)
    before = snapshot(folder)
    result = document(capsys)

    assert snapshot(folder) == before
    assert result["generated"] == []
    assert result["kept"] == list(SECRETS)
    assert run(["setup"]) == 0
    assert "Nothing to do." in capsys.readouterr().out


def test_a_lost_env_is_made_from_our_example_again(folder, capsys):
    document(capsys)
    (folder / ".env").unlink()
    document(capsys)
    assert "OPEN_WEBUI_PORT" in values(folder)


def test_lost_compose_files_come_back_and_env_stays(folder, capsys):
    document(capsys, "--demo")
    before = (folder / ".env").read_bytes()
    (folder / "compose.yaml").unlink()
    (folder / "compose.demo.yaml").unlink()
    result = document(capsys)

    assert (folder / ".env").read_bytes() == before
    created = {file["path"] for file in result["files"] if file["action"] == "created"}
    assert created == {"compose.yaml", "compose.demo.yaml"}


def test_a_checkout_gets_only_env_from_its_own_example(checkout, capsys):
    result = document(capsys)

    assert {file["path"]: file["action"] for file in result["files"]} == {
        "docker-compose.yaml": "kept",
        ".env": "created",
    }
    assert result["generated"] == ["WEBUI_SECRET_KEY", "POSTGRES_PASSWORD"]
    password, key = values(checkout)["POSTGRES_PASSWORD"], values(checkout)["WEBUI_SECRET_KEY"]
    assert (checkout / ".env").read_text() == (
        CHECKOUT_EXAMPLE.replace("PASSWORD=postgres ", f"PASSWORD={password} ")
        .replace('KEY=""', f'KEY="{key}"')
        .replace(
            "\nDATABASE_URL=postgresql://postgres:postgres",
            f"\nDATABASE_URL=postgresql://postgres:{password}",
        )
    )
    assert not (checkout / "compose.yaml").exists()


def test_crlf_and_a_missing_last_line_end_survive(checkout, capsys):
    (checkout / "env.example").write_bytes(b"# A\r\nPOSTGRES_PASSWORD=\r\nWEBUI_SECRET_KEY=")
    document(capsys)
    text = (checkout / ".env").read_bytes()
    assert re.fullmatch(rb"# A\r\nPOSTGRES_PASSWORD=\w{40}\r\nWEBUI_SECRET_KEY=\w{40}", text)


def test_without_an_example_env_gets_what_the_files_use(checkout, capsys):
    (checkout / "env.example").unlink()
    result = document(capsys)
    assert result["generated"] == ["WEBUI_SECRET_KEY", "POSTGRES_PASSWORD"]
    assert set(values(checkout)) == {"WEBUI_SECRET_KEY", "POSTGRES_PASSWORD"}


def test_an_env_that_exists_only_gets_what_is_missing(checkout, capsys):
    env = checkout / ".env"
    text = "# mine\nPOSTGRES_PASSWORD='chosen by hand'\nFOO=bar"
    env.write_text(text)
    env.chmod(0o644)
    result = document(capsys)

    key = values(checkout)["WEBUI_SECRET_KEY"]
    assert env.read_text() == f"{text}\n\n# Added by owctl setup.\nWEBUI_SECRET_KEY={key}\n"
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert result["generated"] == ["WEBUI_SECRET_KEY"]
    assert result["kept"] == ["POSTGRES_PASSWORD"]
    assert any("open to other users" in note for note in result["notes"])


def test_an_env_that_lacks_nothing_is_only_restricted(checkout, capsys):
    env = checkout / ".env"
    env.write_text("POSTGRES_PASSWORD=chosen-by-hand-1\nWEBUI_SECRET_KEY=chosen-by-hand-2\n")
    env.chmod(0o644)
    before = snapshot(checkout)[".env"]
    result = document(capsys)

    assert {"path": ".env", "action": "restricted"} in result["files"]
    assert snapshot(checkout)[".env"] == before
    assert stat.S_IMODE(env.stat().st_mode) == 0o600


def test_a_placeholder_that_may_be_in_use_is_left_and_named(checkout, capsys):
    (checkout / ".env").write_text("POSTGRES_PASSWORD=postgres\nWEBUI_SECRET_KEY=own-key-1234\n")
    before = snapshot(checkout)[".env"]
    result = document(capsys)
    assert snapshot(checkout)[".env"] == before
    assert any("POSTGRES_PASSWORD has a widely known value" in note for note in result["notes"])


def test_the_demonstration(folder, capsys):
    result = document(capsys, "--demo")

    assert result["project"] == "open-webui-rust-demo"
    assert values(folder)["COMPOSE_FILE"] == "compose.yaml:compose.demo.yaml"
    assert (folder / "compose.demo.yaml").is_file()
    assert (folder / "demo" / "postgres" / "Dockerfile").is_file()
    for script in (folder / "demo").rglob("*.sh"):
        assert os.access(script, os.X_OK)
    assert not list((folder / "demo").rglob("__pycache__"))
    before = snapshot(folder)
    assert document(capsys, "--demo")["generated"] == []
    assert snapshot(folder) == before


def test_the_demonstration_takes_an_env_that_waits_for_it(folder, capsys):
    (folder / ".env").write_text("OPEN_WEBUI_PORT=3999\n")
    document(capsys, "--demo")
    assert values(folder)["OPEN_WEBUI_PORT"] == "3999"
    assert values(folder)["COMPOSE_FILE"] == "compose.yaml:compose.demo.yaml"


def test_the_demonstration_stays_out_of_a_real_stack(checkout, capsys):
    before = snapshot(checkout)
    assert "folder of its own" in failure(capsys, "setup", "--demo", code=4)
    assert snapshot(checkout) == before


@pytest.mark.parametrize("words", [(), ("--demo",)])
def test_dry_run_tells_the_same_and_writes_nothing(folder, capsys, words):
    planned = document(capsys, "--dry-run", *words)
    assert not list(folder.iterdir())
    done = document(capsys, *words)
    assert planned["files"] == done["files"]
    assert planned["generated"] == done["generated"]


def test_set_puts_variables_into_env(folder, capsys, monkeypatch):
    document(capsys, "--set", "OPEN_WEBUI_PORT=3999", "--set", "NOTE=a $b 'c'")
    assert values(folder)["OPEN_WEBUI_PORT"] == "3999"
    assert values(folder)["NOTE"] == "a $b 'c'"
    words = ["--set", "OPEN_WEBUI_PORT=4000", "--set", "POSTGRES_PASSWORD=by-hand-12345"]
    monkeypatch.setattr(sys, "argv", ["owctl", "setup", *words])
    document(capsys, *words)
    assert values(folder)["OPEN_WEBUI_PORT"] == "4000"
    assert values(folder)["POSTGRES_PASSWORD"] == "by-hand-12345"
    history = (folder / ".owctl" / "history.jsonl").read_text()
    assert "POSTGRES_PASSWORD=***" in history
    assert "by-hand" not in history


@pytest.mark.parametrize(
    "words",
    [
        ("--set", "novalue"),
        ("--set", "=x"),
        ("--set", "A B=x"),
        ("--set", "A=x\ny"),
        ("--set", "A=1", "--set", "A=2"),
        ("--set", "COMPOSE_PROJECT_NAME=Not Valid"),
    ],
)
def test_a_set_that_makes_no_sense_is_refused(folder, capsys, words):
    assert "Try:" in failure(capsys, "setup", *words, code=2)
    assert not list(folder.iterdir())


def test_the_name_given_with_p_is_remembered(folder, capsys):
    assert run(["-p", "other", "setup"]) == 0
    assert values(folder)["COMPOSE_PROJECT_NAME"] == "other"
    assert "Project other" in capsys.readouterr().out
    message = failure(capsys, "-p", "third", "setup", code=2)
    assert "two names" in message
    message = failure(capsys, "-p", "a", "setup", "--set", "COMPOSE_PROJECT_NAME=b", code=2)
    assert "two names" in message


def test_the_shells_secret_is_written_down(folder, capsys, monkeypatch):
    monkeypatch.setenv("POSTGRES_PASSWORD", "from-the-shell-1")
    result = document(capsys)
    assert values(folder)["POSTGRES_PASSWORD"] == "from-the-shell-1"
    assert "POSTGRES_PASSWORD" in result["kept"]


def test_a_reference_is_left(checkout, capsys):
    text = "BASE=abc\nPOSTGRES_PASSWORD=${BASE}def\nWEBUI_SECRET_KEY=${UNSET_ANYWHERE:-}\n"
    (checkout / ".env").write_text(text)
    document(capsys)
    assert (checkout / ".env").read_text() == text


def test_env_is_a_folder(checkout, capsys):
    (checkout / ".env").mkdir()
    assert "is a folder" in failure(capsys, "setup", code=4)


@pytest.mark.parametrize(
    ("data", "line"), [(b"A=1\nno name here\n", 2), (b"A=1\nB=\xff\n", 2), (b"A='open\n", 1)]
)
def test_an_env_that_cannot_be_read_names_the_line_and_stays(checkout, capsys, data, line):
    (checkout / ".env").write_bytes(data)
    before = snapshot(checkout)
    assert f".env:{line}" in failure(capsys, "setup", code=4)
    assert snapshot(checkout) == before


def test_an_example_that_cannot_be_read_writes_nothing(checkout, capsys):
    (checkout / "env.example").write_text("A=1\nno name here\n")
    before = snapshot(checkout)
    assert "env.example:2" in failure(capsys, "setup", code=4)
    assert snapshot(checkout) == before


def test_a_dangling_link_is_named(checkout, capsys):
    (checkout / ".env").symlink_to("/nonexistent/env")
    assert "which does not exist" in failure(capsys, "setup", code=4)


def test_compose_files_that_cannot_be_loaded_do_not_keep_env_from_being_made(checkout, capsys):
    (checkout / "docker-compose.yaml").write_text(
        CHECKOUT_COMPOSE + "x: ${CERTIFICATE:?is needed}\nunknown_key: 1\n"
    )
    result = document(capsys)
    assert values(checkout)["POSTGRES_PASSWORD"] != "postgres"
    assert any("owctl config --validate" in note for note in result["notes"])


def test_two_at_once_end_up_with_one_set_of_secrets(folder):
    command = [sys.executable, "-m", "owctl", "setup", "--json", "--lock-wait", "60"]
    running = [
        subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    results = []
    for process in running:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        results.append(json.loads(output)["generated"])
    assert sorted(map(len, results)) == [0, 0, 3]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_full_disk_loses_nothing(tmp_path, folder, capsys, monkeypatch):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", small], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        (small / "docker-compose.yaml").write_text(CHECKOUT_COMPOSE)
        (small / ".env").write_text("POSTGRES_PASSWORD=chosen-by-hand-1\n")
        filler = small / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(b"x" * 65536)
        message = failure(capsys, "-C", str(small), "setup", code=1)
        assert "No space left" in message
        assert (small / ".env").read_text() == "POSTGRES_PASSWORD=chosen-by-hand-1\n"
        assert {path.name for path in small.iterdir()} == {"docker-compose.yaml", ".env", "filler"}
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_folder_that_is_read_only(tmp_path, folder, capsys):
    fixed = tmp_path / "fixed"
    fixed.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", fixed], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        assert "read-only" in failure(capsys, "-C", str(fixed), "setup", code=1)
    finally:
        subprocess.run(["umount", fixed], check=True)


def test_no_help_text_or_module_needs_a_project(capsys):
    assert run(["setup", "--help"]) == 0
    assert "--adopt" in capsys.readouterr().out
