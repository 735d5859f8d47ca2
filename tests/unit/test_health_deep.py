"""Deep checks against servers on the loopback: what they accept, and what they say otherwise."""

import json
from dataclasses import replace
from typing import Any

import pytest

from owctl.compose.model import Probe, Service
from owctl.health.deep import databases, web
from owctl.health.deep.checks import checks_of, run_deep_checks
from owctl.health.deep.databases import explain_postgres
from owctl.health.deep.subject import Subject
from owctl.health.result import ServiceHealth
from owctl.health.target import Address
from tests.unit.health_servers import (
    answering,
    closing,
    endless,
    refused_port,
    resetting,
    serve,
    silent,
)
from tests.unit.test_health_check import LOCAL, REMOTE, container, stack_of, started

FRONTEND = Service("frontend", image="web", probe=Probe("http", 8080, "/health"))


def health(service: str, status: Any = "healthy", detail: str = "said") -> ServiceHealth:
    return ServiceHealth(service, f"p-{service}-1", None, None, status, None, None, 1.0, detail)


def subject(port: int, service: Service = FRONTEND, **more: Any) -> Subject:
    probe = service.probe or Probe("redis", 6379)
    address = Address("127.0.0.1", port)
    return Subject(
        LOCAL,
        service,
        more.pop("container", container()),
        probe,
        address,
        more.pop("rows", ()),
        more.pop("containers", ()),
        more.pop("timeout_seconds", 5.0),
    )


def http(status: str, body: bytes, kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


# --- which checks ------------------------------------------------------------------------------


def test_every_service_of_the_stack_gets_its_checks():
    services = (
        Service("postgres", image="postgres:16-alpine"),
        Service("redis", image="redis:7-alpine"),
        Service("rust-backend", image="x/open-webui-rust-backend", environment={"PORT": "8080"}),
        Service("socketio-bridge", image="x/open-webui-socketio-bridge"),
        Service("frontend", image="x/open-webui-frontend:latest"),
    )
    stack = stack_of(*services)
    assert [list(checks_of(stack, service)) for service in services] == [
        ["login"],
        ["set-get-del"],
        [],
        ["polling", "websocket"],
        ["proxy-api", "proxy-socketio"],
    ]


def test_without_a_bridge_there_is_no_socketio_to_reach():
    assert list(checks_of(stack_of(FRONTEND), FRONTEND)) == ["proxy-api"]


def test_a_frontend_of_another_name_is_known_by_what_it_is_told():
    own = replace(FRONTEND, name="site", environment={"BACKEND_URL": "http://api:8080"})
    assert "proxy-api" in checks_of(stack_of(own), own)
    other = replace(FRONTEND, name="site")
    assert checks_of(stack_of(other), other) == {}


def test_what_does_not_run_fails_and_what_cannot_be_reached_is_skipped():
    service = Service("x", image="u/socketio")
    stack = stack_of(service)
    row = replace(health("x"), container="p-x-1", status="stopped", detail="exited with 3")
    ended = run_deep_checks(LOCAL, stack, [container("exited")], [row], timeout_seconds=1)
    assert [(each.status, each.detail) for each in ended] == [("unhealthy", "exited with 3")] * 2
    running = run_deep_checks(REMOTE, stack, [container()], [row], timeout_seconds=1)
    assert {each.status for each in running} == {"skipped"}
    assert running[0].detail == "port 8081 cannot be reached from here"


# --- Redis -------------------------------------------------------------------------------------

REDIS = Service("x", image="redis")


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([b"-NOAUTH Authentication required.\r\n"], "the stack has no password for it"),
        ([b"-MISCONF Errors writing to the AOF file\r\n"], "look for a full disk"),
        ([b"-READONLY You can't write against a read only replica.\r\n"], "it is a replica"),
        ([b"-OOM command not allowed\r\n"], "raise maxmemory"),
        ([b"+OK\r\n", b"$-1\r\n"], "answered GET with '$-1'"),
        ([b"+OK\r\n", b"$3\r\nabc\r\n"], "answered GET with '$abc'"),
        ([b"+OK\r\n", b"$99999999\r\n"], "answered GET"),
        ([b"HTTP/1.1 400 Bad Request\r\n"], "not Redis"),
    ],
)
def test_redis_failures_say_what_to_do(answers, said):
    with serve(answering(*answers)) as server:
        result = databases.set_get_delete(subject(server.port, REDIS))
    assert result.status == "unhealthy"
    assert said in result.detail


def test_a_refused_password_is_a_failure():
    service = replace(REDIS, environment={"REDIS_PASSWORD": "of-another-time"})
    with serve(answering(b"-WRONGPASS invalid username-password pair\r\n")) as server:
        result = databases.set_get_delete(subject(server.port, service))
    assert result.status == "unhealthy"
    assert "refuses the stack's password" in result.detail


# --- Socket.IO ---------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["polling", "websocket"])
@pytest.mark.parametrize(
    "play",
    [
        closing,
        resetting,
        silent,
        answering(http("502 Bad Gateway", b"<html>", "text/html")),
        answering(http("200 OK", b"<html>", "text/html")),
        answering(http("200 OK", b"0{}")),
        answering(http("200 OK", b"0[]")),
        answering(b"SSH-2.0-OpenSSH_9.2\r\n"),
        endless(b"HTTP/1.1 200 OK\r\n"),
    ],
)
def test_a_socketio_client_survives_any_server(play, transport):
    with serve(play) as server:
        result = web.connect(subject(server.port, timeout_seconds=0.5), transport)
    assert result.status == "unhealthy"
    assert result.detail.isprintable()


def test_a_websocket_that_is_not_upgraded_is_named():
    with serve(answering(http("400 Bad Request", b"no"))) as server:
        result = web.connect(subject(server.port), "websocket")
    assert result.detail == "no upgrade to a websocket: HTTP 400 Bad Request"


def test_a_refused_connection_is_named():
    result = web.connect(subject(refused_port()), "websocket")
    assert "refused" in result.detail


# --- the frontend's proxy ----------------------------------------------------------------------

BAD_GATEWAY = answering(http("502 Bad Gateway", b"<html>bad</html>", "text/html"))
RESTART = "owctl restart frontend"


def through(play, **more: Any):
    with serve(play) as server:
        return web.reach_api(subject(server.port, **more))


def test_the_api_is_reached():
    result = through(answering(http("200 OK", b'{"version": "1.2"}')))
    assert (result.status, result.detail) == ("healthy", "HTTP 200 at /api/version, version 1.2")


def test_an_older_api_is_reached_by_its_configuration():
    missing = answering(http("404 Not Found", b"{}"))
    with serve(missing, answering(http("200 OK", b'{"status": true}'))) as server:
        result = web.reach_api(subject(server.port))
    assert (result.status, result.detail) == ("healthy", "HTTP 200 at /api/config")


@pytest.mark.parametrize("body", [b"<!doctype html>", b"[1]", b"", json.dumps("x").encode()])
def test_a_page_in_place_of_the_api_is_not_it(body):
    result = through(answering(http("200 OK", body, "text/html")))
    assert result.status == "unhealthy"
    assert "does not pass /api/ on" in result.detail


def test_a_backend_that_is_down_is_named():
    rows = (health("rust-backend", "stopped", "exited with 1"),)
    result = through(BAD_GATEWAY, rows=rows)
    assert result.detail == ("HTTP 502 from the frontend: rust-backend is stopped (exited with 1)")


def test_a_backend_with_a_new_address_is_suspected():
    behind = container(started_at=started(10))
    object.__setattr__(behind, "service", "rust-backend")
    result = through(BAD_GATEWAY, rows=(health("rust-backend"),), containers=[behind])
    assert result.detail == (
        "HTTP 502 from the frontend: it resolved the old address of rust-backend, "
        f"which was started later; {RESTART}"
    )


def test_a_proxy_that_waits_for_an_address_in_vain_is_suspected_too():
    rows = (health("rust-backend"),)
    result = through(silent, rows=rows, timeout_seconds=0.3)
    assert result.detail.startswith("no complete answer within 0.3 s from the frontend: ")
    assert RESTART in result.detail


def test_a_backend_that_was_not_asked_is_left_open():
    result = through(BAD_GATEWAY)
    assert "it does not reach rust-backend; if that is healthy" in result.detail


def test_an_error_of_the_backend_itself_is_passed_on():
    result = through(answering(http("500 Internal Server Error", b'{"detail": "no table"}')))
    assert result.detail == 'HTTP 500: {"detail": "no table"}'


# --- PostgreSQL's words ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stderr", "first", "advice"),
    [
        (
            'psql: error: connection to server at "172.18.0.2", port 5432 failed: FATAL:  '
            'password authentication failed for user "web"',
            'password authentication failed for user "web": ',
            "put that one into .env",
        ),
        ('psql: error: FATAL:  role "web" does not exist', 'role "web" does not', "POSTGRES_USER"),
        ("FATAL:  sorry, too many clients already", "sorry, too many", "DATABASE_POOL_SIZE"),
        ('FATAL:  no pg_hba.conf entry for host "172.18.0.3"', "no pg_hba.conf", "no other"),
        ("ERROR:  canceling statement", "ERROR:  canceling statement".replace("  ", " "), ""),
        ("", "psql failed and said nothing", ""),
    ],
)
def test_psqls_words_are_shortened_and_explained(stderr, first, advice):
    text = explain_postgres(stderr)
    assert text.startswith(first)
    assert advice in text
