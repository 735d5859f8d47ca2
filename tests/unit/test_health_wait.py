"""Waiting: against servers on the loopback that come up, stay away, or end."""

import threading
import time
from typing import Any

import pytest

from owctl.compose.model import Service
from owctl.errors import TimedOut
from owctl.health.result import HealthReport
from owctl.health.wait import EXITS_ALLOWED, Wait, final_end, wait_until_healthy
from tests.unit.health_servers import answering, closing, refused_port, serve
from tests.unit.test_health_check import LOCAL, container, stack_of

REDIS = Service("x", image="redis")
PONG = answering(b"+PONG\r\n")


def wait_for(port: int, timeout_seconds: float, **more: Any) -> Wait:
    return Wait(LOCAL, stack_of(REDIS), (REDIS,), timeout_seconds, 5.0, **more)


def redis_at(port: int, **more: Any):
    one = container(publish={"6379/tcp": [("127.0.0.1", port)]}, **more)
    object.__setattr__(one, "service", "x")
    return one


def test_it_ends_with_the_first_healthy_round():
    reports: list[HealthReport] = []
    with serve(closing, closing, PONG) as server:
        one = redis_at(server.port)
        outcome = wait_until_healthy(
            wait_for(server.port, 20), on_round=reports.append, look=lambda: [one]
        )
    assert outcome.failure is None
    assert [each.status for each in reports] == ["unhealthy", "unhealthy", "healthy"]
    assert outcome.report is reports[-1]
    assert outcome.report.duration_ms >= 300  # two pauses


def test_a_container_that_is_created_later_is_waited_for():
    with serve(PONG) as server:
        found = iter([[], [], [redis_at(server.port)]])
        outcome = wait_until_healthy(
            wait_for(server.port, 20), on_round=lambda _: None, look=lambda: next(found)
        )
    assert outcome.failure is None
    assert outcome.report.status == "healthy"


def test_the_time_is_up_with_the_last_detail():
    port = refused_port()
    started = time.monotonic()
    outcome = wait_until_healthy(
        wait_for(port, 0.5), on_round=lambda _: None, look=lambda: [redis_at(port)]
    )
    assert time.monotonic() - started < 2
    assert isinstance(outcome.failure, TimedOut)
    assert outcome.failure.exit_code == 6
    assert outcome.failure.details == ("x: unhealthy, connection refused",)
    assert outcome.failure.message == "1 service was not healthy within 0.5 s:"
    assert outcome.failure.hint.startswith("owctl logs --tail 200 x")


def test_a_server_that_hangs_does_not_outlast_the_wait():
    with serve(lambda session: session.wait_for_end()) as server:
        started = time.monotonic()
        outcome = wait_until_healthy(
            wait_for(server.port, 0.6),
            on_round=lambda _: None,
            look=lambda: [redis_at(server.port)],
        )
        assert time.monotonic() - started < 2
    assert isinstance(outcome.failure, TimedOut)


def test_nothing_at_all_suggests_to_start():
    outcome = wait_until_healthy(wait_for(1, 0.2), on_round=lambda _: None, look=list)
    assert isinstance(outcome.failure, TimedOut)
    assert outcome.failure.hint == "owctl start"


@pytest.mark.parametrize(
    ("state", "policy", "restarts", "expected"),
    [
        ("running", "no", 0, None),
        ("exited", "no", 0, "exited with code 3"),
        ("exited", "on-failure", 5, "exited with code 3"),
        ("exited", "unless-stopped", 0, None),
        ("restarting", "always", 0, None),
        (
            "restarting",
            "always",
            EXITS_ALLOWED - 1,
            "keeps restarting, 3 times since the wait began: it exited with code 3",
        ),
        ("running", "always", EXITS_ALLOWED, "keeps restarting, 3 times since the wait began"),
    ],
)
def test_what_ends_for_good(state, policy, restarts, expected):
    one = container(state, restarts=restarts, ExitCode=3)
    object.__setattr__(one, "restart_policy", policy)
    assert final_end(one, 0) == expected


def test_restarts_before_the_wait_do_not_count():
    one = container("running", restarts=40)
    object.__setattr__(one, "restart_policy", "always")
    assert final_end(one, 40) is None


def test_deep_checks_are_part_of_the_wait():
    """The probe is content at once; the key that Redis loses fails the deep check."""
    good = threading.Event()

    def play(session):
        request = session.connection.recv(100)
        if b"PING" in request:
            session.send(b"+PONG\r\n")
        elif not good.is_set():
            good.set()
            session.send(b"+OK\r\n")
            session.receive()
            session.send(b"$-1\r\n")
        else:
            session.send(b"+OK\r\n")
            value = request.split(b"\r\n")[6]
            session.receive()
            session.send(b"$%d\r\n%s\r\n" % (len(value), value))
            session.receive()
            session.send(b":1\r\n")

    reports: list[HealthReport] = []
    with serve(play) as server:
        outcome = wait_until_healthy(
            wait_for(server.port, 20, deep=True),
            on_round=reports.append,
            look=lambda: [redis_at(server.port)],
        )
    assert outcome.failure is None
    assert [each.status for each in reports] == ["degraded", "healthy"]
    first = reports[0].deep[0]
    assert (first.check, first.status) == ("set-get-del", "unhealthy")
    assert "GET" in first.detail
