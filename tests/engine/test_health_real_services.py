"""The probes and the stack's verdict against real PostgreSQL and Redis in containers."""

import time
from collections.abc import Iterator

import pytest

from owctl.compose.model import Probe, Service
from owctl.engine.connection import Engine
from owctl.health import wire
from owctl.health.check import check_stack
from owctl.health.result import ServiceHealth
from tests.engine.health_bench import PASSWORD, POSTGRES, REDIS, Bench, eventually, open_bench

pytestmark = pytest.mark.engine

POSTGRES_SETTINGS = {
    "POSTGRES_USER": "web",
    "POSTGRES_PASSWORD": PASSWORD,
    "POSTGRES_DB": "chat",
    "POSTGRES_INITDB_ARGS": "--no-sync",
}


@pytest.fixture(scope="module")
def bench(engine: Engine) -> Iterator[Bench]:
    with open_bench(engine) as bench:
        yield bench


@pytest.fixture(scope="module")
def database(bench: Bench) -> str:
    """A PostgreSQL that is ready, watched from its first moment: the id of its container."""
    service = Service("postgres", image=POSTGRES)
    identity = bench.run(service, environment=POSTGRES_SETTINGS, publish=5432)
    first = bench.check(identity)
    assert first.status in ("starting", "healthy")
    bench.until(identity, "healthy")
    return identity


@pytest.fixture(scope="module")
def cache(bench: Bench) -> str:
    """A Redis with a password that its command line gives."""
    service = Service("redis", image=REDIS)
    identity = bench.run(service, "redis-server", "--requirepass", PASSWORD, publish=6379)
    bench.until(identity, "healthy")
    return identity


def test_postgres_at_its_published_port(bench: Bench, database: str) -> None:
    row = bench.check(database)
    assert (row.status, row.probe, row.detail) == ("healthy", "postgres", "accepts connections")
    assert row.target is not None
    assert row.target.startswith("127.0.0.1:")


def test_a_probe_leaves_no_trace_in_the_log_of_postgres(bench: Bench, database: str) -> None:
    before = bench.engine.api.logs(database)
    assert bench.check(database).status == "healthy"
    assert bench.engine.api.logs(database) == before


def test_a_database_or_user_that_is_not_there(bench: Bench, database: str) -> None:
    host = bench.address(database)
    result = wire.probe_postgres(host, 5432, user="nobody", database="none", timeout_seconds=2)
    assert result.status == "healthy"


def test_postgres_without_passwords(bench: Bench) -> None:
    settings = POSTGRES_SETTINGS | {"POSTGRES_INITDB_ARGS": "--no-sync --auth-host=trust"}
    script = "sed -i 's/^host all all all .*/host all all all trust/'"
    command = (
        f"docker-entrypoint.sh true; docker-entrypoint.sh postgres -c max_connections=4 "
        f"-c superuser_reserved_connections=0 -c max_wal_senders=0 & "
        f"until [ -e $PGDATA/postmaster.pid ] && grep -q ready $PGDATA/postmaster.pid; "
        f"do read -t 0.1 <> <(:); done; {script} $PGDATA/pg_hba.conf; "
        f"kill -HUP $(head -1 $PGDATA/postmaster.pid); wait"
    )
    service = Service("open-postgres", image=POSTGRES)
    identity = bench.run(service, "bash", "-c", command, environment=settings)
    bench.until(identity, "healthy")
    row = eventually(lambda: bench.check(identity), lambda row: "without" in row.detail)
    assert row.detail == "accepts connections, without a password"
    assert row.target == f"{bench.address(identity)}:5432"
    missing = wire.probe_postgres(
        bench.address(identity), 5432, user="web", database="none", timeout_seconds=2
    )
    assert missing.status == "healthy"
    assert missing.detail == 'answers, refuses the login: database "none" does not exist'


def test_redis_with_a_password(bench: Bench, cache: str) -> None:
    assert bench.check(cache).detail == "PONG"
    host = bench.address(cache)
    unknown = wire.probe_redis(host, 6379, timeout_seconds=2)
    assert (unknown.status, unknown.detail) == ("healthy", "answers, demands a password")
    wrong = wire.probe_redis(host, 6379, password="wrong", timeout_seconds=2)
    assert wrong.status == "unhealthy"
    assert "refuses the stack's password" in wrong.detail


def test_redis_without_a_password(bench: Bench) -> None:
    service = Service("open-redis", image=REDIS)
    identity = bench.run(service, environment={"REDIS_PASSWORD": PASSWORD})
    row = bench.until(identity, "healthy")
    assert row.detail == "PONG, no password is set on the server"
    assert wire.probe_redis(bench.address(identity), 6379, timeout_seconds=2).detail == "PONG"


def test_out_of_reach_the_containers_own_check_is_run_inside(bench: Bench) -> None:
    service = Service("hidden-redis", image=REDIS)
    check = {"test": ["CMD-SHELL", "redis-cli ping | grep PONG"], "interval": 3600 * 10**9}
    identity = bench.run(service, healthcheck=check, network_mode="none")
    row = bench.until(identity, "healthy")
    assert (row.probe, row.detail) == ("exec", "PONG")
    assert row.target == f"{bench.project}-hidden-redis-1"
    assert row.latency_ms is not None


def test_own_checks_that_fail_hang_or_do_not_exist(bench: Bench) -> None:
    def verdict(name: str, *test: str) -> ServiceHealth:
        service = Service(name, image=REDIS, probe=Probe("redis", 6379))
        check = {"test": list(test), "interval": 3600 * 10**9}
        return bench.check(bench.run(service, healthcheck=check, network_mode="none"))

    failing = verdict("failing", "CMD-SHELL", "echo no disk; exit 3")
    # Silence of the first seconds: the engine, too, does not count it yet.
    assert failing.status == "starting"
    assert failing.detail.startswith("its health check exits with 3: no disk")
    assert "exits with 12" in verdict("absent", "CMD", "no-such-program").detail
    started = time.monotonic()
    hanging = verdict("hanging", "CMD", "sleep", "100")
    assert "time allowed" in hanging.detail
    endless = verdict("endless", "CMD", "yes")
    assert "time allowed" in endless.detail
    assert time.monotonic() - started < 10


def test_a_hung_service_costs_its_timeout_once(bench: Bench, database: str, cache: str) -> None:
    service = Service("hung", image=REDIS)
    for _ in range(3):
        identity = bench.run(service, publish=6379)
        bench.until(identity, "healthy")
        bench.engine.api.kill(identity, signal="SIGSTOP")
    bench.services["nowhere"] = Service("nowhere", image=REDIS)
    chosen = [bench.services[name] for name in ("postgres", "redis", "hung", "nowhere")]
    report = check_stack(bench.engine, bench.stack, chosen, timeout_seconds=0.5)
    assert report.status == "degraded"
    assert report.duration_ms < 1500
    rows = {row.container: row for row in report.services}
    assert [row.status for row in report.services][:2] == ["healthy", "healthy"]
    for number in (1, 2, 3):
        row = rows[f"{bench.project}-hung-{number}"]
        # The engine's proxy has accepted the connection: that proves nothing.
        assert row.detail.startswith("no complete answer within 0.5 s")
    assert (rows[None].service, rows[None].status) == ("nowhere", "missing")


def test_a_paused_a_stopped_and_a_restarting_container(bench: Bench) -> None:
    service = Service("states", image=REDIS)
    identity = bench.run(service)
    bench.engine.api.pause(identity)
    assert bench.check(identity).status == "unhealthy"
    bench.engine.api.unpause(identity)
    bench.engine.api.kill(identity)
    bench.engine.api.wait(identity)
    row = bench.check(identity)
    assert (row.status, row.detail) == ("stopped", "exited with 137")
    looping = bench.run(
        Service("looping", image=REDIS),
        "sh",
        "-c",
        "exit 5",
        restart_policy={"Name": "always", "MaximumRetryCount": 0},
    )
    row = eventually(lambda: bench.check(looping), lambda row: row.state == "restarting")
    assert row.status == "unhealthy"
    assert row.detail.startswith("exited with 5, the engine restarts it (")
