"""Restore on a running stack: exact, with a way back, and a way on after a kill."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import (
    OWCTL,
    Project,
    clean_environment,
    make_project,
    remove_project,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
DATA = "/app/data"
# Archives have whole seconds.
LIST = (
    f"cd {DATA} && find . -name '.owctl-restore-*' -prune -o -printf '%p %y %m %U:%G %Ts %l\\n' "
    "| sort && find . -name '.owctl-restore-*' -prune -o -type f -exec sha256sum {} + | sort"
)
ROWS = "SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM entry t;"
States = tuple[str, tuple[str, str, str], tuple[str, str, str]]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, demo_base_image: str) -> Iterator[Project]:
    project = make_project(tmp_path_factory.mktemp("restore"), demo_base_image)
    try:
        project.succeed("start", timeout_seconds=900)
        yield project
    finally:
        remove_project(project.project)


def sql(stack: Project, statements: str) -> str:
    words = ["psql", "-X", "-q", "-A", "-t", "-U", stack.environment["POSTGRES_USER"]]
    words += ["-d", stack.environment["POSTGRES_DB"], "-c", statements]
    return stack.succeed("shell", "postgres", *words).stdout.strip()


def redis(stack: Project, *words: str) -> str:
    command = ["sh", "-c", 'REDISCLI_AUTH="$0" exec redis-cli "$@"']
    secret = stack.environment["REDIS_PASSWORD"]
    return stack.succeed("shell", "redis", *command, secret, *words).stdout.strip()


def backend(stack: Project, script: str) -> str:
    return stack.succeed("shell", "rust-backend", "sh", "-ec", script).stdout


def state(stack: Project) -> tuple[str, str, str]:
    return sql(stack, ROWS), backend(stack, LIST), redis(stack, "--raw", "GET", "color")


def fill(stack: Project) -> None:
    backend(
        stack,
        f"cd {DATA} && mkdir -p uploads/deep && echo one >uploads/one && echo two >uploads/deep/two"
        " && chmod 640 uploads/one && ln -sfn one uploads/link && touch -d @1000000000 uploads/one",
    )
    redis(stack, "SET", "color", "green")
    sql(stack, "CREATE TABLE IF NOT EXISTS entry (id int, text text); TRUNCATE entry;")
    sql(stack, "INSERT INTO entry SELECT i, md5(i::text) FROM generate_series(1, 5000) i;")


def change(stack: Project) -> None:
    sql(stack, "UPDATE entry SET text = 'new' WHERE id % 2 = 0; DELETE FROM entry WHERE id < 9;")
    backend(
        stack,
        f"cd {DATA} && echo three >uploads/three && echo other >uploads/one && "
        "rm -r uploads/deep && rm uploads/link",
    )
    redis(stack, "SET", "color", "red")


@pytest.fixture
def two_states(stack: Project) -> States:
    """A backup's id, the state that it holds, and a later one, which is there now."""
    fill(stack)
    before = state(stack)
    backup = Path(stack.succeed("-q", "backup").stdout.strip()).name
    change(stack)
    after = state(stack)
    assert all(one != other for one, other in zip(before, after, strict=True))
    return backup, before, after


def assert_runs(stack: Project) -> None:
    assert {row["state"] for row in stack.status().values()} == {"running"}


def assert_nothing_left(stack: Project) -> None:
    names = sql(stack, "SELECT datname FROM pg_database WHERE datname ~ '^ow_(restore|before)_';")
    assert names == ""
    assert backend(stack, f"ls -A {DATA} | grep owctl-restore || true") == ""
    document = json.loads(stack.succeed("restore", "status", "--json").stdout)
    assert document == {"schema": 1, "project": stack.project, "restore": None}
    assert not list((stack.directory / ".owctl").glob("restore*"))


def test_there_and_back_and_there_to_stay(stack: Project, two_states: States):
    backup, before, after = two_states
    refused = stack.owctl("restore", backup)
    assert refused.returncode == 2
    assert "--yes" in refused.stderr

    plan = stack.succeed("restore", "latest", "--dry-run").stdout
    for words in ("replace  database", "replace  volume rust_backend_data", "stop     redis"):
        assert words in plan
    assert max(map(len, plan.splitlines())) <= 80
    assert state(stack) == after

    done = stack.succeed("restore", backup, "--yes")
    assert "owctl restore finish" in done.stdout
    assert re.search(r"database \S+: \d+ rows, counted", done.stdout)
    assert re.search(r"in the volume rust_backend_data, [\d.]+ kB", done.stdout)
    assert state(stack) == before
    stack.succeed("health")
    assert "swapped" in stack.succeed("restore", "status").stdout
    again = stack.owctl("restore", backup, "--yes")
    assert again.returncode == 1
    assert "owctl restore finish" in again.stderr

    sql(stack, "DELETE FROM entry;")
    stack.succeed("restore", "undo", "--yes")
    assert state(stack) == after
    assert_runs(stack)
    assert_nothing_left(stack)


def test_finished_and_told_as_json(stack: Project, two_states: States):
    backup, before, _ = two_states
    plan = json.loads(stack.succeed("restore", backup, "--dry-run", "--json").stdout)
    assert plan["dry_run"] is True
    assert plan["parts"] == ["db", "files", "redis"]
    assert set(plan["stops"]) == set(stack.status()) - {"postgres"}
    assert {need["what"] for need in plan["room"]} >= {"the database", "rust_backend_data"}
    words = ("restore", backup, "--yes", "--no-safety-backup", "--json")
    document = json.loads(stack.succeed(*words).stdout)
    assert document["schema"] == 1
    assert document["project"] == stack.project
    assert document["restore"]["phase"] == "swapped"
    assert document["restore"]["safety_backup"] is None
    assert document["rows"]["public.entry"] == 5000
    assert set(document["files_bytes"]) >= {"rust_backend_data", "redis_data"}
    assert state(stack) == before
    document = json.loads(stack.succeed("restore", "finish", "--yes", "--json").stdout)
    assert document["restore"] is None
    assert state(stack) == before
    assert_runs(stack)
    assert_nothing_left(stack)


@pytest.mark.parametrize("way", ["undo", "resume"])
def test_a_kill_in_the_swap(stack: Project, two_states: States, way: str):
    backup, before, after = two_states
    kill_in(stack, backup, "swapping")
    refused = stack.owctl("start")
    assert refused.returncode == 1
    assert "owctl restore resume" in refused.stderr
    stack.succeed("restore", way, *(["--yes"] if way == "undo" else []))
    assert_runs(stack)
    assert state(stack) == (after if way == "undo" else before)
    if way == "resume":
        stack.succeed("restore", "undo", "--yes")
        assert state(stack) == after
    assert_nothing_left(stack)


def kill_in(stack: Project, backup: str, phase: str) -> None:
    """Kill a restore with SIGKILL as soon as its journal names the phase."""
    journal = stack.directory / ".owctl" / "restore.json"
    process = subprocess.Popen(
        [str(OWCTL), "restore", backup, "--yes", "--no-safety-backup"],
        cwd=stack.directory,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while f'"phase": "{phase}"' not in (journal.read_text() if journal.exists() else ""):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
    process.kill()
    process.communicate(timeout=60)


def test_one_part_only(stack: Project, two_states: States):
    backup, before, after = two_states
    stack.succeed("restore", backup, "--yes", "--only", "files", "--no-safety-backup")
    assert state(stack) == (after[0], before[1], after[2])
    stack.succeed("restore", "finish", "--yes")
    stack.succeed("restore", backup, "--yes", "--only", "redis", "--no-safety-backup")
    assert state(stack) == (after[0], before[1], before[2])
    stack.succeed("restore", "finish", "--yes")
    assert_nothing_left(stack)


def test_the_configuration_only_when_asked(stack: Project, two_states: States):
    backup, _, after = two_states
    path = stack.directory / ".env"
    original = path.read_text()
    changed = original.replace("WEBUI_SECRET_KEY=", "WEBUI_SECRET_KEY=x")
    path.write_text(changed)
    try:
        plan = stack.succeed("restore", backup, "--dry-run")
        assert ".env differs" in plan.stderr
        assert "WEBUI_SECRET_KEY" in plan.stderr
        assert stack.environment["WEBUI_SECRET_KEY"] not in plan.stdout + plan.stderr
        stack.succeed("restore", backup, "--yes", "--only", "config", "--no-safety-backup")
        assert path.read_text() == original
        assert path.stat().st_mode & 0o777 == 0o600
        stack.succeed("restore", "undo", "--yes")
        assert path.read_text() == changed
    finally:
        path.write_text(original)
    assert state(stack) == after
    assert_nothing_left(stack)


def test_a_stopped_stack_is_stopped_afterwards(stack: Project, two_states: States):
    backup, before, _ = two_states
    stack.succeed("stop")
    try:
        stack.succeed("restore", backup, "--yes", "--no-safety-backup")
        assert {row["state"] for row in stack.status().values()} == {"missing"}
        stack.succeed("restore", "finish", "--yes")
        assert {row["state"] for row in stack.status().values()} == {"missing"}
    finally:
        stack.succeed("start")
    assert state(stack) == before
    assert_nothing_left(stack)
