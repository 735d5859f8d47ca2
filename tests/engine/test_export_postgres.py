"""Exporting the stack's tables: one snapshot, every value as it is, no secret, whole files or none."""

import csv
import io
import json
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from backup_project import DATABASE, Project
from engine_helpers import wait_until
from test_migrate_capture import Old

from owctl.engine.connection import Engine
from owctl.engine.containers import inspect_container
from owctl.engine.execution import open_exec
from owctl.migrate.export.form import choose, export_to
from owctl.migrate.export.postgres import PostgresOrigin
from owctl.postgres.place import server_in
from tests.migrate_sources.builder import ADMIN, Builder

pytestmark = pytest.mark.engine
OWCTL = Path(sys.executable).parent / "owctl"
NASTY = 'two\nlines\r\n"quoted", comma\t\\n \\. 😀 ü \u2028 \x01\x02 =1+1'
SCHEMA = """
CREATE TABLE "user" (id text PRIMARY KEY, name text, "a ""name"", too" text, empty text,
  nothing text, born date, seen timestamp, active boolean, ratio float8, api_key text,
  settings jsonb, info jsonb);
CREATE TABLE chat (id text PRIMARY KEY, chat jsonb NOT NULL, typed json);
CREATE TABLE auth (id text, email text, password text);
CREATE TABLE config (id integer, data jsonb);
CREATE TABLE vault (password text);
CREATE SCHEMA other;
CREATE TABLE other.config (id integer, data jsonb);
INSERT INTO auth VALUES ('1', 'a@example.org', 'hash-of-a-password');
INSERT INTO config VALUES (1, '["sk-openai"]');
INSERT INTO other.config VALUES (1, '["sk-openai"]');
INSERT INTO chat SELECT i::text, jsonb_build_object('text', repeat(md5(i::text), 40))
  FROM generate_series(1, 2000) i;
INSERT INTO chat VALUES ('big', jsonb_build_object('text', repeat('x', 12000000)),
  E'{\\n "kept":\\r\\n [1, "as typed"]\\n}');
"""
_COPIES = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY (SELECT%' AND {}"


def literal(value: str) -> str:
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


@pytest.fixture(scope="module")
def stack(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(engine, tmp_path_factory.mktemp("folder"))
    try:
        nasty = literal(NASTY)
        values = (
            f"('1', {nasty}, {nasty}, '', NULL, '1990-01-31', '2024-10-27 03:33:20.5', true, 'NaN',"
            f" 'sk-api-key', jsonb_build_object('webhook_url', 'hooks.example.org'), '{{}}')"
        )
        project.start_database(f'{SCHEMA} INSERT INTO "user" VALUES {values};')
        yield project
    finally:
        project.remove()


def owctl(stack: Project, *arguments: str | Path, **options) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [OWCTL, "-p", stack.name, "export", *arguments],
        cwd=stack.folder, capture_output=True, check=False, **options,
    )  # fmt: skip


def succeed(stack: Project, *arguments: str | Path) -> bytes:
    result = owctl(stack, *arguments)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout


def csv_rows(data: bytes) -> list[dict[str, str]]:
    csv.field_size_limit(1 << 28)
    return list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))


def json_rows(data: bytes) -> list[dict]:
    return [json.loads(line) for line in data.decode().split("\n")[:-1]]


def test_csv_gives_back_what_is_stored(stack: Project) -> None:
    data = succeed(stack, "user")
    (row,) = csv_rows(data)
    assert row == {
        "id": "1", "name": NASTY, 'a "name", too': NASTY, "empty": "", "nothing": "",
        "born": "1990-01-31", "seen": "2024-10-27 03:33:20.5", "active": "t", "ratio": "NaN",
    }  # fmt: skip
    assert b',"",,1990' in data
    assert data.startswith(b"id,name,")
    assert data.endswith(b"\r\n")
    chats = {row["id"]: row for row in csv_rows(succeed(stack, "chat"))}
    assert len(chats) == 2001
    assert len(json.loads(chats["big"]["chat"])["text"]) == 12_000_000
    assert chats["big"]["typed"] == '{\n "kept":\r\n [1, "as typed"]\n}'


def test_json_lines_hold_json_as_json(stack: Project) -> None:
    (row,) = json_rows(succeed(stack, "user", "--format", "jsonl"))
    assert (row["name"], row['a "name", too']) == (NASTY, NASTY)
    assert (row["empty"], row["nothing"], row["active"]) == ("", None, True)
    assert row["seen"] == "2024-10-27T03:33:20.5"
    chats = {row["id"]: row for row in json_rows(succeed(stack, "chat", "--format", "jsonl"))}
    assert len(chats) == 2001
    assert len(chats["big"]["chat"]["text"]) == 12_000_000
    assert chats["big"]["typed"] == {"kept": [1, "as typed"]}
    assert chats["1"]["typed"] is None


def test_no_secret_leaves_unless_asked_for(stack: Project, tmp_path: Path) -> None:
    tables = ("user", "auth", "config", "other.config")
    secrets = ("hash-of-a-password", "sk-api-key", "hooks.example.org", "sk-openai")
    for form in ("csv", "jsonl"):
        result = owctl(stack, *tables, "--format", form, "--output", tmp_path / form)
        assert result.returncode == 0, result.stderr
        assert b"user: without api_key, settings, info" in result.stderr
        paths = sorted((tmp_path / form).iterdir())
        assert [path.name for path in paths] == [f"{table}.{form}" for table in sorted(tables)]
        assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
        without = b"".join(path.read_bytes() for path in paths)
        assert not [secret for secret in secrets if secret.encode() in without]
        again = ("--format", form, "--output", tmp_path / form, "--force", "--with-secrets")
        succeed(stack, *tables, *again)
        everything = b"".join(path.read_bytes() for path in paths)
        assert [secret for secret in secrets if secret.encode() in everything] == list(secrets)
    refused = owctl(stack, "vault")
    assert refused.returncode == 2
    assert b"vault has no columns but" in refused.stderr


def test_the_list_and_what_is_not_in_it(stack: Project) -> None:
    document = json.loads(succeed(stack, "--list", "--json"))
    assert (document["schema"], document["project"]) == (1, stack.name)
    rows = {row["table"]: row["rows"] for row in document["tables"]}
    assert rows == {"auth": 1, "chat": 2001, "config": 1, "other.config": 1, "user": 1, "vault": 0}
    unknown = owctl(stack, "users")
    assert unknown.returncode == 2
    assert b"Try: owctl export user" in unknown.stderr


def test_all_tables_are_of_one_moment(engine: Engine, stack: Project) -> None:
    container = inspect_container(engine, stack.containers["postgres"])
    assert container is not None
    with PostgresOrigin(server_in(engine, container)) as origin:
        stack.sql("INSERT INTO auth VALUES ('2'); INSERT INTO config VALUES (2);")
        try:
            for form, extra in (("csv", 1), ("jsonl", 0)):
                for chosen in choose(origin, ["auth", "config"], with_secrets=False):
                    pieces: list[bytes] = []
                    assert export_to(origin, chosen, form, pieces.append).rows == 1
                    assert b"".join(pieces).count(b"\n") == 1 + extra
            assert origin.count_rows()["auth"] == 1
        finally:
            stack.sql("DELETE FROM auth WHERE id = '2'; DELETE FROM config WHERE id = 2;")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_no_half_file_and_nobody_at_work(
    engine: Engine, stack: Project, tmp_path: Path, number: signal.Signals
) -> None:
    environment = {
        "PGUSER": "web",
        "PGPASSWORD": DATABASE["POSTGRES_PASSWORD"],
        "PGDATABASE": "chats",
    }
    psql = ["psql", "-X", "-q", "-A", "-t"]
    with open_exec(
        engine, stack.containers["postgres"], psql, environment=environment, stdin=True
    ) as other:
        other.write(b"BEGIN; LOCK TABLE auth IN ACCESS EXCLUSIVE MODE; SELECT 'locked';\n")
        assert next(iter(other)) == ("stdout", b"locked\n")
        command = [OWCTL, "-p", stack.name, "export", "chat", "auth", "--output", tmp_path / "made"]
        process = subprocess.Popen(command, cwd=stack.folder, stderr=subprocess.PIPE)
        waiting = _COPIES.format("wait_event_type = 'Lock'")
        wait_until(lambda: stack.sql(waiting) == "1", "the export waits for the second table")
        assert len(list((tmp_path / "made").iterdir())) == 2
        process.send_signal(number)
        _, complaints = process.communicate(timeout=30)
        assert process.returncode == 130, complaints
        assert list((tmp_path / "made").iterdir()) == []
        others = _COPIES.format("pid <> pg_backend_pid()")
        wait_until(lambda: stack.sql(others) == "0", "nobody copies any more")


def test_a_full_disk_leaves_no_half_file(stack: Project, tmp_path: Path) -> None:
    result = owctl(
        stack,
        *("user", "chat", "--output", tmp_path / "made"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, 4_000_000)),
    )
    assert result.returncode == 1
    assert b"chat.csv: File too large" in result.stderr
    assert list((tmp_path / "made").iterdir()) == []


def test_memory_does_not_grow_with_the_value(stack: Project, tmp_path: Path) -> None:
    def peak_kilobytes(table: str) -> int:
        command = (OWCTL, "-C", stack.folder, "-p", stack.name, "export", table)
        words = [*map(str, command), "-q", "--output", str(tmp_path / table)]
        child = os.posix_spawn(OWCTL, words, os.environ)
        _, status, usage = os.wait4(child, 0)
        assert status == 0
        assert (tmp_path / table).stat().st_size > 0
        return usage.ru_maxrss

    assert peak_kilobytes("chat") - peak_kilobytes("auth") < 8 * 1024


def test_a_database_that_does_not_run_is_said(engine: Engine, tmp_path: Path) -> None:
    project = Project(engine, tmp_path)
    try:
        result = owctl(project, "user")
        assert result.returncode == 1
        assert b"the container of postgres does not exist" in result.stderr
        assert b"Try: owctl start postgres" in result.stderr
    finally:
        project.remove()


def test_from_the_container_of_a_python_backend(engine: Engine, tmp_path: Path) -> None:
    builder = Builder(tmp_path / "webui.db")
    builder.user(ADMIN, name=NASTY)
    builder.close()
    old = Old(engine, {})
    try:
        old.put({"webui.db": (tmp_path / "webui.db").read_bytes()})
        before = old.listing()
        command = [OWCTL, "export", "user", "--from-container", old.name]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        assert result.returncode == 0, result.stderr.decode()
        assert [row["name"] for row in csv_rows(result.stdout)] == [NASTY]
        assert old.listing() == before
    finally:
        old.remove()
