"""The verdict on a container: its state, its address, its probe, its age; and the report."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from owctl.compose.model import Dependency, Probe, Service, Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import Container, container_from_inspect
from owctl.engine.endpoint import Endpoint
from owctl.health.check import check_container, engine_verdict, own_check
from owctl.health.result import HealthReport, ServiceHealth, overall_status, printable
from owctl.health.target import Address, find_address
from tests.unit.health_servers import answering, refused_port, serve, silent

# check_container asks an engine for its address alone, as long as no command is run inside.
LOCAL = Engine(Endpoint("unix:///var/run/docker.sock", "a test"), "1.41", {})
REMOTE = Engine(Endpoint("tcp://example.org:2376", "a test"), "1.41", {})
PONG = answering(b"+PONG\r\n")


def stack_of(*services: Service) -> Stack:
    named = {service.name: service for service in services}
    return Stack("p", Path("/p"), (), (), named, {}, {})


def started(seconds_ago: float) -> str:
    moment = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "123Z"


def container(
    state: str = "running",
    *,
    publish: dict[str, list[tuple[str, int]]] | None = None,
    networks: dict[str, dict[str, str]] | None = None,
    started_at: str = started(3600),
    restarts: int = 0,
    health: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    **more: Any,
) -> Container:
    ports = {
        target: [{"HostIp": ip, "HostPort": str(port)} for ip, port in bindings]
        for target, bindings in (publish or {}).items()
    }
    return container_from_inspect(
        {
            "Id": "c" * 64,
            "Name": "/p-x-1",
            "RestartCount": restarts,
            "State": {"Status": state, "StartedAt": started_at, "Health": health, **more},
            "Config": config or {},
            "NetworkSettings": {"Ports": ports, "Networks": networks or {}},
        }
    )


def check(one: Container, service: Service | None = None, **options: Any) -> ServiceHealth:
    service = service or Service("x", image="redis")
    engine = options.pop("engine", LOCAL)
    stack = options.pop("stack", stack_of(service))
    return check_container(engine, stack, service, one, timeout_seconds=0.5, **options)


# --- the address -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bindings", "expected"),
    [
        ([("0.0.0.0", 7000), ("::", 7000)], Address("127.0.0.1", 7000)),
        ([("::", 7001), ("0.0.0.0", 7000)], Address("127.0.0.1", 7000)),
        ([("", 7000)], Address("127.0.0.1", 7000)),
        ([("::", 7000)], Address("::1", 7000)),
        ([("192.0.2.7", 7000)], Address("192.0.2.7", 7000)),
    ],
)
def test_the_published_port_is_preferred(
    bindings: list[tuple[str, int]], expected: Address
) -> None:
    networks = {"n": {"IPAddress": "172.30.0.2", "Gateway": "127.0.0.1"}}
    one = container(publish={"6379/tcp": bindings}, networks=networks)
    assert find_address(LOCAL, one, 6379) == expected


def test_another_port_or_protocol_does_not_count() -> None:
    one = container(publish={"6379/udp": [("", 7000)], "80/tcp": [("", 7001)], "6379/tcp": []})
    assert find_address(LOCAL, one, 6379) is None


def test_the_containers_address_counts_if_its_gateway_is_this_machine() -> None:
    def address(gateway: str) -> Address | None:
        networks = {"n": {"IPAddress": "172.30.0.2", "Gateway": gateway}}
        return find_address(LOCAL, container(networks=networks), 6379)

    assert address("127.0.0.1") == Address("172.30.0.2", 6379)
    assert address("192.0.2.1") is None
    assert address("") is None
    assert address("nonsense") is None


def test_a_container_on_the_hosts_network_is_at_the_loopback() -> None:
    one = container(networks={"host": {"IPAddress": "", "Gateway": ""}})
    assert find_address(LOCAL, one, 6379) == Address("127.0.0.1", 6379)


def test_a_remote_engines_ports_are_not_ours() -> None:
    one = container(publish={"6379/tcp": [("0.0.0.0", 7000)]})
    assert find_address(REMOTE, one, 6379) is None


def test_what_a_remote_engine_publishes_to_everybody_is_asked_there_openly() -> None:
    one = container(publish={"80/tcp": [("0.0.0.0", 7000)], "81/tcp": [("127.0.0.1", 7001)]})
    found = find_address(REMOTE, one, 80, openly=True)
    assert found is not None
    assert str(found) == "example.org:7000"
    assert find_address(REMOTE, one, 81, openly=True) is None
    # A forwarded port of this machine's says nothing of where the engine is.
    forwarded = Engine(Endpoint("tcp://127.0.0.1:2376", "a test"), "1.41", {})
    assert find_address(forwarded, one, 80, openly=True) is None


def test_an_address_behind_ssh_says_whose_it_is() -> None:
    loopback = Address("127.0.0.1", 6379, Path("/x"), "example.org")
    assert str(loopback) == "127.0.0.1:6379 on example.org"
    assert loopback.authority == "127.0.0.1:6379"


def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert str(Address("::1", 80)) == "[::1]:80"


# --- the verdict -----------------------------------------------------------------------------


def test_a_probe_at_the_published_port() -> None:
    with serve(PONG) as server:
        row = check(container(publish={"6379/tcp": [("127.0.0.1", server.port)]}))
    assert (row.status, row.probe, row.detail) == ("healthy", "redis", "PONG")
    assert row.target == f"127.0.0.1:{server.port}"
    assert row.latency_ms is not None


def test_an_http_target_is_a_url() -> None:
    service = Service("x", probe=Probe("http", 80, "/ready"))
    with serve(answering(b"HTTP/1.1 200 OK\r\n\r\n")) as server:
        row = check(container(publish={"80/tcp": [("", server.port)]}), service)
    assert (row.status, row.target) == ("healthy", f"http://127.0.0.1:{server.port}/ready")


def test_the_probe_outweighs_the_engine_both_ways() -> None:
    for verdict in ("unhealthy", "starting"):
        with serve(PONG) as server:
            ports = {"6379/tcp": [("", server.port)]}
            row = check(container(publish=ports, health={"Status": verdict}))
        assert (row.status, row.engine_health) == ("healthy", verdict)
    ports = {"6379/tcp": [("", refused_port())]}
    assert check(container(publish=ports, health={"Status": "healthy"})).status == "unhealthy"


def test_credentials_come_from_the_container() -> None:
    with serve(answering(b"+OK\r\n", b"+PONG\r\n")) as server:
        one = container(
            publish={"6379/tcp": [("", server.port)]}, config={"Env": ["REDIS_PASSWORD=old"]}
        )
        service = Service("x", image="redis", environment={"REDIS_PASSWORD": "new"})
        assert check(one, service).status == "healthy"
    assert b"\r\nold\r\n" in server.requests[0]


@pytest.mark.parametrize(
    ("age", "start_period", "status"),
    [(2, 0, "starting"), (12, 0, "unhealthy"), (12, 30, "starting"), (40, 30, "unhealthy")],
)
def test_silence_soon_after_the_start_is_starting(
    age: float, start_period: int, status: str
) -> None:
    one = container(
        publish={"6379/tcp": [("", refused_port())]},
        started_at=started(age),
        config={"Healthcheck": {"StartPeriod": start_period * 10**9}},
    )
    row = check(one)
    assert row.status == status
    assert row.detail.startswith("connection refused")


def test_a_wrong_answer_is_unhealthy_from_the_first_second() -> None:
    with serve(answering(b"-ERR max number of clients reached\r\n")) as server:
        one = container(publish={"6379/tcp": [("", server.port)]}, started_at=started(1))
        assert check(one).status == "unhealthy"


def test_an_engine_whose_clock_is_ahead() -> None:
    ports = {"6379/tcp": [("", refused_port())]}
    row = check(container(publish=ports, started_at=started(-100), restarts=4))
    assert row.status == "starting"
    assert row.detail == "connection refused (restarted 4 times), started 0 s ago"


def test_a_port_that_accepts_proves_nothing() -> None:
    with serve(silent) as server:
        row = check(container(publish={"6379/tcp": [("", server.port)]}))
    assert row.status == "unhealthy"


@pytest.mark.parametrize(
    ("one", "status", "detail"),
    [
        (container("exited", ExitCode=3), "stopped", "exited with 3"),
        (container("exited", ExitCode=0), "stopped", "exited with 0"),
        (
            container("exited", ExitCode=137, OOMKilled=True),
            "stopped",
            "killed: out of memory",
        ),
        (container("created"), "stopped", "created, but never started"),
        (
            container("created", Error="port is taken"),
            "stopped",
            "created, but never started: port is taken",
        ),
        (container("paused"), "unhealthy", "paused"),
        (
            container("restarting", ExitCode=1, restarts=7),
            "unhealthy",
            "exited with 1, the engine restarts it (7 times so far)",
        ),
        (container("dead", ExitCode=1), "stopped", "exited with 1"),
        (container("removing"), "stopped", "removing"),
    ],
)
def test_containers_that_do_not_run(one: Container, status: str, detail: str) -> None:
    row = check(one)
    assert (row.status, row.probe, row.target) == (status, None, None)
    assert row.detail == detail


def test_a_job_that_has_completed_is_healthy() -> None:
    job = Service("x", image="job")
    edge = Dependency("x", "service_completed_successfully")
    stack = stack_of(job, Service("app", depends_on=(edge,)))
    assert check(container("exited", ExitCode=0), job, stack=stack).status == "healthy"
    assert check(container("exited", ExitCode=1), job, stack=stack).status == "stopped"


def test_without_a_probe_the_engine_is_believed() -> None:
    worker = Service("x", image="worker")
    log = [{"Output": "no disk\x07 left\n"}]
    row = check(container(health={"Status": "unhealthy", "Log": log}), worker)
    assert (row.status, row.probe, row.latency_ms) == ("unhealthy", "engine", None)
    assert row.detail == "the engine calls it unhealthy: no disk left"
    row = check(container(health={"Status": "starting", "Log": []}), worker)
    assert (row.status, row.probe) == ("starting", "engine")
    assert engine_verdict(container(health={"Status": "healthy"})).status == "healthy"
    row = check(container(), worker)
    assert (row.status, row.probe) == ("healthy", "running")


def test_a_port_out_of_reach_without_any_check_says_so() -> None:
    row = check(container(publish={"6379/tcp": [("127.0.0.1", 7000)]}), engine=REMOTE)
    assert (row.status, row.probe, row.target) == ("healthy", "running", None)
    assert row.detail.startswith("not probed, port 6379 cannot be reached from here")


@pytest.mark.parametrize(
    ("config", "command"),
    [
        ({}, None),
        ({"Healthcheck": {"Test": ["NONE"]}}, None),
        ({"Healthcheck": {"Test": []}}, None),
        ({"Healthcheck": {"Test": ["CMD", "pg_isready", "-q"]}}, ("pg_isready", "-q")),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "a | b"]}}, ("/bin/sh", "-c", "a | b")),
        (
            {"Healthcheck": {"Test": ["CMD-SHELL", "a"]}, "Shell": ["/bin/bash", "-ec"]},
            ("/bin/bash", "-ec", "a"),
        ),
    ],
)
def test_the_containers_own_check(config: dict[str, Any], command: tuple[str, ...] | None) -> None:
    assert own_check(container(config=config)) == command


# --- the report ------------------------------------------------------------------------------


def row(status: Any, latency_ms: float | None = 1.26) -> ServiceHealth:
    return ServiceHealth(
        "redis", "p-redis-1", "running", "healthy", status, "redis", "h:1", latency_ms, "PONG"
    )


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["healthy", "healthy"], "healthy"),
        (["healthy", "starting"], "degraded"),
        (["healthy", "missing"], "degraded"),
        (["starting", "stopped"], "unhealthy"),
        ([], "unhealthy"),
    ],
)
def test_overall_status(statuses: list[Any], expected: str) -> None:
    assert overall_status(statuses) == expected


def test_the_json_document() -> None:
    moment = datetime(2024, 5, 6, 7, 8, 9, 123456, UTC)
    report = HealthReport("p", moment, 12.34, (row("healthy"), row("missing", None)))
    document = report.to_json()
    assert list(document) == [
        "schema",
        "project",
        "status",
        "checked_at",
        "duration_ms",
        "services",
    ]
    assert document["schema"] == 1
    assert document["status"] == "degraded"
    assert document["checked_at"] == "2024-05-06T07:08:09.123Z"
    assert document["duration_ms"] == 12.3
    assert document["services"][0] == {
        "service": "redis",
        "container": "p-redis-1",
        "state": "running",
        "engine_health": "healthy",
        "status": "healthy",
        "probe": "redis",
        "target": "h:1",
        "latency_ms": 1.3,
        "detail": "PONG",
    }
    assert document["services"][1]["latency_ms"] is None


def test_what_a_server_sends_becomes_one_harmless_line() -> None:
    assert printable(b"\x1b]0;title\x07a\r\n\tb \xff") == "]0;title a b \ufffd"
    assert printable("x" * 200, 10) == "x" * 9 + "…"
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", printable(bytes(range(256))))
