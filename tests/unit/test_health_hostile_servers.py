"""Every probe against servers that misbehave: a verdict, in time, never an exception."""

import time
from collections.abc import Callable

import pytest

from owctl.health import http, wire
from owctl.health.parallel import at_once
from owctl.health.result import ProbeResult
from tests.unit.health_servers import (
    answering,
    closing,
    dripping,
    endless,
    refused_port,
    resetting,
    serve,
    silent,
)

TIMEOUT_SECONDS = 0.2
TLS_ALERT = b"\x15\x03\x03\x00\x02\x02\x46"
Ask = Callable[[int], ProbeResult]


def ask_postgres(port: int) -> ProbeResult:
    return wire.probe_postgres(
        "127.0.0.1", port, user="u", database="d", timeout_seconds=TIMEOUT_SECONDS
    )


def ask_redis(port: int) -> ProbeResult:
    return wire.probe_redis("127.0.0.1", port, password="p", timeout_seconds=TIMEOUT_SECONDS)


def ask_http(port: int) -> ProbeResult:
    return http.probe("127.0.0.1", port, timeout_seconds=TIMEOUT_SECONDS)


def ask_socketio(port: int) -> ProbeResult:
    return http.probe_socketio("127.0.0.1", port, timeout_seconds=TIMEOUT_SECONDS)


@pytest.fixture(params=[ask_postgres, ask_redis, ask_http, ask_socketio])
def ask(request: pytest.FixtureRequest) -> Ask:
    return request.param


def in_time(ask: Ask, port: int) -> ProbeResult:
    started = time.monotonic()
    result = ask(port)
    assert time.monotonic() - started < TIMEOUT_SECONDS + 0.4
    assert result.latency_ms is not None
    return result


def test_refused(ask: Ask) -> None:
    result = in_time(ask, refused_port())
    assert (result.status, result.detail) == ("unhealthy", "connection refused")
    assert not result.answered


def test_silent(ask: Ask) -> None:
    with serve(silent) as server:
        result = in_time(ask, server.port)
    assert (result.status, result.detail) == ("unhealthy", "no complete answer within 0.2 s")
    assert not result.answered
    assert result.latency_ms is not None
    assert result.latency_ms >= TIMEOUT_SECONDS * 1000 - 1


@pytest.mark.parametrize("play", [closing, resetting])
def test_hangs_up(ask: Ask, play: Callable[[object], None]) -> None:
    with serve(play) as server:
        result = in_time(ask, server.port)
    assert result.status == "unhealthy"
    assert "the connection" in result.detail
    assert not result.answered


@pytest.mark.parametrize(
    "answer",
    [
        b"R\x00\x00\x00\x0c" + b"\x00" * 8,
        b"+OK\r\n+PONG\r\n" + b"A" * 100,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 10,
    ],
)
def test_drips_beyond_the_deadline(ask: Ask, answer: bytes) -> None:
    with serve(dripping(answer, seconds=0.1)) as server:
        result = in_time(ask, server.port)
    assert result.status == "unhealthy"


def test_endless_noise(ask: Ask) -> None:
    with serve(endless(b"")) as server:
        result = in_time(ask, server.port)
    assert result.status == "unhealthy"
    assert result.detail.startswith("not ")
    assert result.answered


@pytest.mark.parametrize(
    "greeting",
    [
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
        b"220 mail.example.org ESMTP\r\n",
        b"RFB 003.008\n",
        TLS_ALERT,
        b"\x00\xff\x1b[31mred\x1b[0m\x07" * 5 + b"\n",
    ],
)
def test_another_protocol(ask: Ask, greeting: bytes) -> None:
    with serve(answering(greeting)) as server:
        result = in_time(ask, server.port)
    assert result.status == "unhealthy"
    assert result.detail.isprintable()
    assert len(result.detail) < 120


def test_http_server_where_databases_are_expected() -> None:
    page = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
    with serve(answering(page)) as server:
        assert "not PostgreSQL: answered 'HTTP/'" in ask_postgres(server.port).detail
        assert "not Redis: answered 'HTTP/1.1 400 Bad Request" in ask_redis(server.port).detail


def test_an_impossible_port_is_a_verdict(ask: Ask) -> None:
    assert ask(70_000).status == "unhealthy"


def test_a_hung_probe_costs_its_timeout_only() -> None:
    started = time.monotonic()
    with serve(silent) as server:
        results = at_once([lambda: ask_redis(server.port)] * 20)
    assert [result.status for result in results] == ["unhealthy"] * 20
    assert time.monotonic() - started < 4 * TIMEOUT_SECONDS


def test_at_once_keeps_the_order_and_raises() -> None:
    assert at_once([lambda n=n: n for n in range(50)]) == list(range(50))
    with pytest.raises(ZeroDivisionError):
        at_once([lambda: 1, lambda: 1 // 0])
