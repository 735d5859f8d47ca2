"""The whole way from the old backend to a demonstration stack, as a user goes it."""

import csv
import hashlib
import io
import json
import os
import re
import secrets
import select
import signal
import socket
import sqlite3
import stat
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from owctl.project.lock import project_lock
from tests.e2e.conftest import (
    OWCTL,
    PROJECT_LABEL,
    Project,
    clean_environment,
    make_project,
    remove_project,
)
from tests.migrate_sources.builder import ADMIN, Builder
from tests.migrate_sources.traps import USER

pytestmark = pytest.mark.e2e

OLD_DATA = "/app/backend/data"
LETTER = os.urandom(300_000)
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, demo_base_image: str) -> Iterator[Project]:
    """A demonstration stack whose backend was built from what is here."""
    project = make_project(tmp_path_factory.mktemp("new"), demo_base_image)
    try:
        project.succeed("start", "--build", timeout_seconds=900)
        yield project
    finally:
        remove_project(project.project)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An old data folder: two accounts, chats, a file that is there, one that is not, one far away."""
    folder = tmp_path / "old"
    folder.mkdir()
    builder = Builder(folder / "webui.db")
    builder.user(ADMIN, "Boss@Example.org", role="admin", name="The Boss")
    builder.user(USER, "person@example.org", name="=A Person")
    builder.chats(200, 20_000, (ADMIN, USER))
    builder.add("chat", id="of-nobody", user_id="nobody")
    builder.add("folder", id="folder-1", user_id=ADMIN, items='["something"]')
    builder.add(
        "config", id=1, data='{"openai": {"api_keys": ["sk-never-shown"]}, "rag": {"top_k": 3}}'
    )
    for identifier, name in (("file-1", "a letter.pdf"), ("file-2", "lost.txt")):
        path = f"{OLD_DATA}/uploads/{identifier}_{name}"
        builder.add("file", id=identifier, user_id=ADMIN, filename=name, path=path)
    builder.add("file", id="file-3", user_id=ADMIN, filename="far", path="s3://bucket/far")
    builder.close()
    uploads = folder / "uploads"
    uploads.mkdir()
    (uploads / "file-1_a letter.pdf").write_bytes(LETTER)
    (uploads / "stray").write_bytes(b"nobody knows")
    (folder / "vector_db").mkdir()
    (folder / "vector_db" / "chroma.sqlite3").write_bytes(b"x" * 20_000)
    return folder


@pytest.fixture
def old_container(source: Path, stack: Project) -> Iterator[str]:
    """A container that has the old data where the Python backend has it, and runs."""
    client = docker.from_env()
    name = f"owctl-test-old-{secrets.token_hex(4)}"
    container = client.containers.create(
        "owctl-demo-rust-backend:latest",
        ["sleep", "3600"],
        entrypoint=[],
        name=name,
        # Else it would carry the label of the project that built the image, and go with that one.
        labels={PROJECT_LABEL: name},
        user="0",
        environment={"WEBUI_SECRET_KEY": "old-secret-of-the-old", "ENABLE_SIGNUP": "false"},
        working_dir="/",
        init=True,
    )
    try:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(source, "app/backend/data")
        container.put_archive("/", buffer.getvalue())
        container.start()
        yield name
    finally:
        container.remove(force=True, v=True)
        client.close()


def migrate(project: Project, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
    result = project.owctl("migrate", *arguments, "--json")
    assert result.returncode == code, result.stdout + result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    assert document["schema"] == 1
    assert document["project"] == project.project
    return document


def ask(project: Project, method: str, path: str, token: str = "", body: Any = None) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{project.ports['rust-backend']}{path}",
        method=method,
        data=json.dumps(body).encode() if body is not None else None,
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()


def sign_in(project: Project, email: str, password: str) -> dict[str, Any]:
    body = {"email": email, "password": password}
    document: dict[str, Any] = json.loads(ask(project, "POST", "/api/v1/auths/signin", body=body))
    return document


def passwords_of(report: dict[str, Any]) -> dict[str, dict[str, str]]:
    path = Path(report["sign_in"]["path"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open(encoding="utf-8", newline="") as file:
        return {row["email"]: row for row in csv.DictReader(file)}


def statuses(report: dict[str, Any]) -> dict[str, str]:
    return {proof["name"]: proof["status"] for proof in report["proofs"]}


def state_of(name: str) -> str:
    client = docker.from_env()
    try:
        return str(client.containers.get(name).status)
    finally:
        client.close()


def rows(project: Project, table: str) -> int:
    query = f'SELECT count(*) FROM public."{table}"'
    result = project.succeed("shell", "postgres", "psql", "-XAt", "-U", "open_webui", "-c", query)
    return int(result.stdout)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_a_rehearsal_reports_everything_and_writes_nothing(stack: Project, source: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in sorted(source.rglob("*"))}
    report = migrate(stack, source / "webui.db", "--dry-run", "--replace")
    assert report["status"] == "rehearsed"
    assert report["target"]["schema"] == "001-010"
    assert report["source"]["version"] == "0.6.32"
    assert report["totals"]["unaccounted"] == 0
    orphans = [row for row in report["rejected_rows"] if row["reason"] == "orphan-user"]
    assert [row["table"] for row in orphans] == ["chat"]
    assert report["meanings"]["orphan-user"]["text"] == "its user is not there"
    assert report["meanings"].keys() >= {note["kind"] for note in report["notes"]}
    assert report["config_settings"] == [
        {"key": "openai.api_keys", "variable": "OPENAI_API_KEY"},
        {"key": "rag.top_k", "variable": None},
    ]
    assert "sk-never-shown" not in json.dumps(report)
    assert [each["column"] for each in report["columns_without_target"]] == ["items"]
    assert report["source"]["vector_data"] is True
    space = report["space"]
    assert space["uploads_bytes"] == len(LETTER) + len(b"nobody knows")
    assert space["copy_bytes"] == space["uploads_bytes"] + report["source"]["size_bytes"]
    assert space["database_free_bytes"] > 0
    assert not (stack.directory / "migrations").exists()
    assert {path: path.stat().st_mtime_ns for path in sorted(source.rglob("*"))} == before


def test_a_rehearsal_as_text_and_as_a_page(stack: Project, source: Path) -> None:
    flags = ("migrate", source / "webui.db", "--dry-run", "--replace")
    text = stack.succeed(*flags).stdout
    assert text.startswith("2 accounts can sign in with a one-time password")
    for words in (
        "tables of the migrations 001-010", "its user is not there", "in lower case", "folder.items",
        "OPENAI_API_KEY", "Index the documents", "on the disk of PostgreSQL",
    ):  # fmt: skip
        assert words in " ".join(text.split()), words
    page = stack.succeed(*flags, "--format", "html").stdout
    assert page.startswith("<!doctype html>")
    for words in ("its user is not there", "openai.api_keys", "database free, bytes"):
        assert words in page, words
    assert "sk-never-shown" not in text + page
    assert not (stack.directory / "migrations").exists()


def on_a_terminal(project: Project, container: str, *dialogue: tuple[str, str]) -> tuple[str, int]:
    """Run a migration on a pseudo-terminal; each pair is what is waited for, and the answer."""
    ours, theirs = os.openpty()
    arguments = ("migrate", "--from-container", container, "--replace")
    with subprocess.Popen(
        [str(OWCTL), *arguments],
        cwd=project.directory,
        env=clean_environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown, pending = "", list(dialogue)
        deadline = time.monotonic() + 5 * PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 0.5)[0]:
                continue
            try:
                shown += os.read(ours, 4096).decode(errors="replace")
            except OSError:
                break
            if pending and pending[0][0] in " ".join(shown.split()):
                os.write(ours, pending.pop(0)[1].encode())
        code = process.wait(timeout=PATIENCE_SECONDS)
    os.close(ours)
    assert not pending, shown
    return " ".join(shown.split()), code


def test_without_a_terminal_what_matters_has_to_be_said(stack: Project, source: Path) -> None:
    result = stack.owctl("migrate", source / "webui.db", "--yes")
    assert result.returncode == 2
    assert "--passwords one-time" in result.stderr
    result = stack.owctl("migrate", source / "webui.db", "--passwords", "keep", "--replace")
    assert result.returncode == 2
    assert "--yes" in result.stderr
    assert stack.owctl("migrate").returncode == 2
    assert not (stack.directory / "migrations").exists()


def test_from_a_container_and_back(
    stack: Project, source: Path, old_container: str, tmp_path: Path
) -> None:
    flags = ("--from-container", old_container, "--passwords", "one-time")
    rehearsed = migrate(stack, *flags, "--dry-run", "--replace")
    settings = {each["name"]: each["old"] for each in rehearsed["environment"]}
    assert settings["ENABLE_SIGNUP"] == "false"
    assert "old-secret" not in json.dumps(rehearsed)
    assert state_of(old_container) == "running"

    report = migrate(stack, *flags, "--replace", "--yes")
    assert report["status"] == "migrated"
    assert set(statuses(report).values()) == {"ok"}, report["proofs"]
    assert set(statuses(report)) == {"counts", "sign-in", "chat", "file", "health", "socket.io"}
    assert state_of(old_container) == "exited"
    assert report["source"]["vector_data"] is True
    assert any("Index the documents" in line for line in report["to_do"])
    files = report["files"]
    assert (files["copied"], files["unreferenced"]) == (1, ["stray"])
    assert [row["id"] for row in files["missing"]] == ["file-2"]
    assert [row["path"] for row in files["elsewhere"]] == ["s3://bucket/far"]
    assert any("lie elsewhere" in line for line in report["to_do"])
    (counted,) = (each["detail"] for each in report["proofs"] if each["name"] == "counts")
    assert counted.endswith("; config aside: the backend rewrites it")

    listed = passwords_of(report)
    assert set(listed) == {"boss@example.org", "person@example.org"}
    assert listed["person@example.org"]["name"] == "'=A Person"
    boss = sign_in(stack, "boss@example.org", listed["boss@example.org"]["password"])
    assert boss["role"] == "admin"
    content = ask(stack, "GET", "/api/v1/files/file-1/content", boss["token"])
    assert hashlib.sha256(content).digest() == hashlib.sha256(LETTER).digest()
    person = sign_in(stack, "person@example.org", listed["person@example.org"]["password"])
    chat = json.loads(ask(stack, "GET", "/api/v1/chats/chat-000001", person["token"]))
    assert chat["title"] == "Chat 1"
    assert len(json.dumps(chat["chat"])) > 15_000

    folder = Path(report["folder"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in folder.iterdir()} >= {
        "capture.json", "journal.json", "load.json", "one-time-passwords.csv", "rejects",
        "report.html", "report.json", "source",
    }  # fmt: skip
    assert json.loads((folder / "report.json").read_text()) == report
    for entry in folder.rglob("*"):
        assert stat.S_IMODE(entry.stat().st_mode) == (0o700 if entry.is_dir() else 0o600), entry
    lines = (folder / "rejects" / "chat.jsonl").read_text().splitlines()
    assert [json.loads(line)["reason"] for line in lines] == ["orphan-user"]

    looked = stack.succeed("migrate", *flags, "--dry-run")
    assert "not empty" in looked.stderr
    refused = stack.owctl("migrate", *flags, "--yes")
    assert refused.returncode == 1
    assert "not empty" in refused.stderr
    assert "--replace" in refused.stderr

    back = migrate(stack, "rollback", "--yes")
    assert back["container"] == old_container
    assert state_of(old_container) == "running"
    assert {row["state"] for row in stack.status().values()} == {"exited"}
    resumed = stack.owctl("migrate", "--resume")
    assert resumed.returncode == 2
    assert "rolled back" in resumed.stderr
    stack.succeed("start", timeout_seconds=300)


def test_a_killed_run_goes_on_where_it_was(stack: Project, source: Path) -> None:
    builder = source / "webui.db"
    arguments = ("migrate", builder, "--passwords", "one-time", "--replace", "--yes")
    known = set((stack.directory / "migrations").glob("*"))
    process = subprocess.Popen(
        [str(OWCTL), *map(str, arguments)],
        cwd=stack.directory,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def halted() -> bool:
        made = set((stack.directory / "migrations").glob("*")) - known
        journals = [path / "journal.json" for path in made]
        return any(
            path.exists() and "halt" in json.loads(path.read_text())["done"] for path in journals
        )

    wait_for(halted, "the backend is halted")
    process.send_signal(signal.SIGKILL)
    process.wait()
    result = stack.succeed("migrate", "--resume")
    assert result.stdout.startswith("2 accounts can sign in with a one-time password")
    (folder,) = set((stack.directory / "migrations").glob("*")) - known
    report = json.loads((folder / "report.json").read_text())
    assert set(statuses(report).values()) == {"ok"}, report["proofs"]
    assert rows(stack, "chat") == 200
    listed = passwords_of(report)
    sign_in(stack, "boss@example.org", listed["boss@example.org"]["password"])
    assert max(map(len, result.stdout.splitlines())) <= 100

    # Killed after the commit, before that was written down: the load is known by its mark.
    journal = json.loads((folder / "journal.json").read_text())
    for step in ("load", "files", "start", "prove"):
        del journal["done"][step]
    (folder / "journal.json").write_text(json.dumps(journal))
    again = migrate(stack, "--resume")
    assert set(statuses(again).values()) == {"ok"}, again["proofs"]
    assert again["tables"] == report["tables"]
    assert passwords_of(again) == listed
    assert rows(stack, "chat") == 200


def test_the_guided_run_asks_before_it_touches_anything(
    stack: Project, source: Path, old_container: str
) -> None:
    known = set((stack.directory / "migrations").glob("*"))
    asked = ("Make a one-time password for every account", "y\n")
    shown, code = on_a_terminal(stack, old_container, asked, (f"stop {old_container}", "n\n"))
    assert code == 130, shown
    assert "stay behind, with their reasons" in shown
    assert "Nothing was changed." in shown
    assert state_of(old_container) == "running"
    assert set((stack.directory / "migrations").glob("*")) == known

    asked = ("Make a one-time password for every account", "n\n")
    shown, code = on_a_terminal(stack, old_container, asked, (f"stop {old_container}", "y\n"))
    assert code == 0, shown
    assert "2 accounts CANNOT sign in" in shown
    assert state_of(old_container) == "exited"


def test_kept_passwords_let_nobody_in_and_replacing_backs_up_first(
    stack: Project, source: Path
) -> None:
    flags = ("--passwords", "keep", "--replace", "--yes")
    migrate(stack, source / "webui.db", *flags)
    uploads = ("shell", "rust-backend", "sh", "-c")
    stack.succeed(*uploads, "touch /app/data/uploads/earlier")
    report = migrate(stack, source / "webui.db", *flags)
    assert stack.succeed(*uploads, "ls /app/data/uploads").stdout.split("\n") == [
        "file-1_a letter.pdf",
        "",
    ]
    assert report["target"]["rows_before"]["chat"] == rows(stack, "chat") == 200
    assert Path(report["backup"]["path"], "manifest.json").exists()
    assert report["sign_in"]["locked_out"] == 2
    assert "CANNOT sign in" in report["sign_in"]["lines"][0]
    assert statuses(report)["sign-in"] == "skipped"
    with pytest.raises(urllib.error.HTTPError):
        sign_in(stack, "boss@example.org", "whatever it was")


def test_a_backend_without_postgresql_is_refused(
    tmp_path: Path, demo_base_image: str, source: Path
) -> None:
    project = make_project(tmp_path / "sqlite", demo_base_image)
    override = project.directory / "compose.sqlite.yaml"
    override.write_text(
        "services:\n  rust-backend:\n    environment:\n      DATABASE_URL: sqlite:///app/data/x.db\n"
    )
    files = f"compose.yaml:compose.demo.yaml:{override.name}"
    try:
        project.succeed("start", "postgres", timeout_seconds=300)
        result = project.owctl(
            "migrate", source / "webui.db", "--dry-run", environment={"COMPOSE_FILE": files}
        )
        assert result.returncode == 1
        assert "does not use PostgreSQL" in result.stderr
    finally:
        remove_project(project.project)


def test_the_doctor_is_asked_first(tmp_path: Path, demo_base_image: str, source: Path) -> None:
    project = make_project(tmp_path / "ill", demo_base_image)
    builder = sqlite3.connect(source / "webui.db")
    builder.execute("DELETE FROM auth WHERE id = ?", (USER,))
    builder.commit()
    builder.close()
    flags = ("migrate", source / "webui.db")
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", project.ports["frontend"]))
        holder.listen()
        refused = project.owctl(*flags, "--passwords", "keep", "--yes")
        assert refused.returncode == 1
        assert "The doctor has found what has to be put right first" in refused.stderr
        assert str(project.ports["frontend"]) in refused.stderr
        assert not (project.directory / "migrations").exists()
        # A rehearsal goes on, also where the new stack does not run yet.
        report = json.loads(project.succeed(*flags, "--dry-run", "--json").stdout)
        text = project.succeed(*flags, "--dry-run").stdout
    assert [found["check"] for found in report["doctor"]] == ["ports"]
    assert "Put right what the doctor has found (ports)" in report["to_do"][0]
    assert report["target"] is None
    assert report["source"]["rows"]["chat"] == 201
    assert report["sign_in"]["without_password"] == 1
    assert "1 account CANNOT sign in with a password" in " ".join(text.split())
    assert re.search(r"^chat +201$", text, re.MULTILINE)


def test_a_run_that_is_kept_out_leaves_nothing(stack: Project, source: Path) -> None:
    known = set((stack.directory / "migrations").glob("*"))
    client = docker.from_env()
    identity = str(client.info()["ID"])
    client.close()
    with project_lock(identity, stack.project, "somebody else"):
        flags = ("--passwords", "keep", "--replace", "--yes")
        kept_out = stack.owctl("migrate", source / "webui.db", *flags)
    assert kept_out.returncode == 8, kept_out.stderr
    assert set((stack.directory / "migrations").glob("*")) == known
