"""The Redis probe's verdicts, with a password and without."""

import pytest

from owctl.health import wire
from owctl.health.result import ProbeResult
from tests.unit.health_servers import answering, serve

NO_PASSWORD_SINCE_6 = (
    b"-ERR AUTH <password> called without any password configured for the default user. "
    b"Are you sure your configuration is correct?\r\n"
)
NO_PASSWORD_BEFORE_6 = b"-ERR Client sent AUTH, but no password is set\r\n"


def ask(*answers: bytes, password: str | None = None) -> tuple[ProbeResult, bytes]:
    with serve(answering(*answers)) as server:
        result = wire.probe_redis("127.0.0.1", server.port, password=password, timeout_seconds=2)
    return result, server.requests[0]


def test_pong() -> None:
    result, sent = ask(b"+PONG\r\n")
    assert (result.status, result.detail) == ("healthy", "PONG")
    assert sent == b"*1\r\n$4\r\nPING\r\n"


def test_auth_comes_first_and_may_hold_any_character() -> None:
    result, sent = ask(b"+OK\r\n", b"+PONG\r\n", password="pä ss\r\n")
    assert (result.status, result.detail) == ("healthy", "PONG")
    assert sent.startswith(b"*2\r\n$4\r\nAUTH\r\n$8\r\np\xc3\xa4 ss\r\n\r\n")


@pytest.mark.parametrize("refusal", [NO_PASSWORD_SINCE_6, NO_PASSWORD_BEFORE_6])
def test_a_server_without_a_password_is_up(refusal: bytes) -> None:
    result, _ = ask(refusal, b"+PONG\r\n", password="secret")
    assert result.status == "healthy"
    assert "no password is set" in result.detail


@pytest.mark.parametrize(
    ("answer", "status", "detail"),
    [
        (b"-NOAUTH Authentication required.\r\n", "healthy", "demands a password"),
        (b"-NOPERM this user has no permissions\r\n", "healthy", "no permissions"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "starting", "loading"),
        (b"-MISCONF Redis is configured to save RDB snapshots\r\n", "unhealthy", "MISCONF"),
        (b"-DENIED Redis is running in protected mode\r\n", "unhealthy", "protected mode"),
        (b"-ERR max number of clients reached\r\n", "unhealthy", "max number of clients"),
        (b"+OK\r\n", "unhealthy", "OK"),
        (b"+PONG\n", "unhealthy", "not Redis"),
        (b":1\r\n", "unhealthy", "not Redis"),
    ],
)
def test_answers_to_ping(answer: bytes, status: str, detail: str) -> None:
    result, _ = ask(answer)
    assert result.status == status
    assert detail in result.detail
    assert result.answered


@pytest.mark.parametrize(
    "refusal",
    [b"-WRONGPASS invalid username-password pair\r\n", b"-ERR invalid password\r\n"],
)
def test_a_refused_password_is_not_healthy_and_is_not_shown(refusal: bytes) -> None:
    result, _ = ask(refusal, password="hunter2222")
    assert result.status == "unhealthy"
    assert "refuses the stack's password" in result.detail
    assert "hunter2222" not in result.detail


def test_loading_is_starting_also_after_auth() -> None:
    result, _ = ask(b"+OK\r\n", b"-LOADING Redis is loading\r\n", password="secret")
    assert result.status == "starting"
    result, _ = ask(b"-LOADING Redis is loading\r\n", password="secret")
    assert result.status == "starting"
