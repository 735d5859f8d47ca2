"""Redis writes its data out before its volume is archived, or the backup fails and says why."""

import time
from collections.abc import Iterator

import pytest
from backup_project import Project
from engine_helpers import wait_until

from owctl.backup.create.redis import write_out
from owctl.engine.connection import Engine
from owctl.engine.containers import Container, inspect_container
from owctl.engine.execution import run
from owctl.errors import OwctlError

pytestmark = pytest.mark.engine


def command(engine: Engine, container: Container, *words: str, password: str = "swordfish") -> str:
    argv = ["redis-cli", "--no-auth-warning", "-a", password, *words]
    return run(engine, container.id, argv).stdout.decode().strip()


@pytest.fixture(scope="module")
def redis(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    project = Project(engine, tmp_path_factory.mktemp("folder"))
    try:
        found = inspect_container(engine, project.start("redis"))
        assert found is not None
        wait_until(lambda: command(engine, found, "ping") == "PONG", "Redis answers")
        yield found
    finally:
        project.remove()


def files(engine: Engine, redis: Container) -> bytes:
    return run(engine, redis.id, ["sh", "-c", "cat /data/appendonlydir/* /data/*.rdb"]).stdout


def test_the_append_only_file_is_rewritten(engine: Engine, redis: Container) -> None:
    command(engine, redis, "set", "owl", "barn")
    before = run(engine, redis.id, ["ls", "/data/appendonlydir"]).stdout
    write_out(engine, redis)
    after = run(engine, redis.id, ["ls", "/data/appendonlydir"]).stdout
    assert before != after
    assert b"barn" in files(engine, redis)


def test_without_one_the_snapshot_is_saved(engine: Engine, redis: Container) -> None:
    command(engine, redis, "config", "set", "appendonly", "no")
    try:
        command(engine, redis, "set", "owl", "tawny-without-a-log")
        write_out(engine, redis)
        assert b"tawny-without-a-log" in run(engine, redis.id, ["cat", "/data/dump.rdb"]).stdout
    finally:
        command(engine, redis, "config", "set", "appendonly", "yes")


def test_a_password_that_changed_is_an_error_at_once(engine: Engine, redis: Container) -> None:
    command(engine, redis, "config", "set", "requirepass", "other")
    began = time.monotonic()
    try:
        with pytest.raises(OwctlError, match="cannot write its data out: NOAUTH") as caught:
            write_out(engine, redis)
    finally:
        command(engine, redis, "config", "set", "requirepass", "swordfish", password="other")
    assert time.monotonic() - began < 20
    assert caught.value.hint == "owctl logs redis"


def test_a_refusal_is_an_error(engine: Engine, redis: Container) -> None:
    command(engine, redis, "config", "set", "appendonly", "no")
    command(engine, redis, "acl", "setuser", "default", "-bgsave")
    try:
        with pytest.raises(OwctlError, match="NOPERM"):
            write_out(engine, redis)
    finally:
        command(engine, redis, "acl", "setuser", "default", "+bgsave")
        command(engine, redis, "config", "set", "appendonly", "yes")
