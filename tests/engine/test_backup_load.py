"""Loading a dump: all of its rows, or an error, however it is cut off."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from backup_project import Project
from engine_helpers import wait_until

from owctl.engine.connection import Engine
from owctl.engine.containers import Container, inspect_container
from owctl.engine.execution import run
from owctl.errors import BackupInvalid, OwctlError
from owctl.postgres.load import count_rows, load_dump
from owctl.postgres.psql import Server

pytestmark = pytest.mark.engine
ENVIRONMENT = {"PGUSER": "web", "PGPASSWORD": "correct-horse-battery", "PGDATABASE": "chats"}
ROWS = {"public.user": 50, "public.chat": 2000, "public.file": 2}


@pytest.fixture(scope="module")
def stack(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(engine, tmp_path_factory.mktemp("folder"))
    try:
        project.start_database()
        yield project
    finally:
        project.remove()


@pytest.fixture
def server(engine: Engine, stack: Project) -> Server:
    container = inspect_container(engine, stack.containers["postgres"])
    assert container is not None
    server = Server(engine, container, ENVIRONMENT)
    server.ask("DROP DATABASE IF EXISTS empty; CREATE DATABASE empty TEMPLATE template0;")
    return server


def dump(server: Server, *options: str) -> bytes:
    answer = run(
        server.engine,
        server.container.id,
        ["pg_dump", *options],
        environment=dict(server.environment),
    )
    assert answer.exit_code == 0, answer.stderr
    return answer.stdout


def load(server: Server, pieces: Iterator[bytes] | list[bytes], form: str) -> None:
    load_dump(server.engine, server.container, ENVIRONMENT, "empty", lambda: pieces, form=form)


def tables(server: Server) -> dict[str, int]:
    container: Container = server.container
    return count_rows(server.engine, container, ENVIRONMENT, "empty")


def assert_of_no_use(server: Server, form: str) -> None:
    """SQL text is one transaction; of an archive there may be a part, which nobody takes for all."""
    found = tables(server)
    assert found == {} if form == "plain" else found != ROWS


def cut(data: bytes, size: int = 10_000) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize(("form", "options"), [("custom", ["-Fc", "-Z0"]), ("plain", [])])
def test_all_of_it(server: Server, form: str, options: list[str]) -> None:
    load(server, cut(dump(server, *options)), form)
    assert tables(server) == ROWS
    digest = "SELECT md5(string_agg(u::text, '' ORDER BY id)) FROM \"user\" u;"
    assert server.ask(digest, database="empty") == server.ask(digest)


def test_a_dump_of_a_newer_pg_dump_that_locks_psql_up(server: Server) -> None:
    data = dump(server).replace(b"\n-- Dumped from", b"\n\\restrict aB3\n\n-- Dumped from", 1)
    load(server, cut(data + b"\\unrestrict aB3\n\n", 100), "plain")
    assert tables(server) == ROWS


@pytest.mark.parametrize(("form", "options"), [("custom", ["-Fc", "-Z0"]), ("plain", [])])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_a_part_of_it(server: Server, form: str, options: list[str], part: float) -> None:
    data = dump(server, *options)
    with pytest.raises(OwctlError):
        load(server, cut(data[: int(len(data) * part)]), form)
    assert_of_no_use(server, form)


@pytest.mark.parametrize(("form", "options"), [("custom", ["-Fc", "-Z0"]), ("plain", [])])
def test_damage_that_shows_after_the_last_byte(
    server: Server, form: str, options: list[str]
) -> None:
    def pieces() -> Iterator[bytes]:
        yield from cut(dump(server, *options))
        raise BackupInvalid("its SHA-256 is not the manifest's.")

    with pytest.raises(BackupInvalid, match="SHA-256"):
        load(server, pieces(), form)
    assert_of_no_use(server, form)


def test_an_error_on_the_way(server: Server) -> None:
    server.ask("CREATE TABLE public.file (id text);", database="empty")
    with pytest.raises(OwctlError, match="could not load") as caught:
        load(server, cut(dump(server, "-Fc", "-Z0")), "custom")
    assert any("already exists" in line for line in caught.value.details), caught.value.details
    assert tables(server)["public.file"] == 0


def test_long_texts_are_compressed_with_lz4(server: Server) -> None:
    server.ask("INSERT INTO chat SELECT 'x', to_jsonb(repeat('compressible ', 9999));")
    try:
        load(server, cut(dump(server, "-Fc", "-Z0")), "custom")
    finally:
        server.ask("DELETE FROM chat WHERE id = 'x';")
    query = "SELECT pg_column_compression(chat) FROM chat WHERE id = 'x';"
    assert server.ask(query, database="empty") == [["lz4"]]


KILLED = """
import os, sys, threading
from owctl.postgres.load import load_dump
from owctl.engine.connection import Engine
from owctl.engine.containers import inspect_container

def pieces():
    data = open(sys.argv[2], "rb").read()
    for start in range(0, len(data) // 2, 10_000):
        yield data[start : start + 10_000]
    print("half", flush=True)
    threading.Event().wait()

environment = {name: os.environ[name] for name in ("PGUSER", "PGPASSWORD", "PGDATABASE")}
with Engine.connect(None, os.environ) as engine:
    container = inspect_container(engine, sys.argv[1])
    load_dump(engine, container, environment, "empty", pieces, form=sys.argv[3])
"""


@pytest.mark.parametrize(("form", "options"), [("custom", ["-Fc", "-Z0"]), ("plain", [])])
def test_owctl_killed_on_the_way(
    server: Server, tmp_path: Path, form: str, options: list[str]
) -> None:
    path = tmp_path / "dump"
    path.write_bytes(dump(server, *options))
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, server.container.id, str(path), form],
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'empty';"
    wait_until(lambda: server.ask(query) == [["1"]], "it is being loaded")
    process.kill()
    process.communicate()
    wait_until(lambda: server.ask(query) == [["0"]], "the session has ended")
    assert_of_no_use(server, form)
    log = server.engine.api.logs(server.container.id).decode()
    assert "terminated by signal" not in log
