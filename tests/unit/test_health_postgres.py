"""The PostgreSQL probe's verdicts on what a server may say first."""

import struct

import pytest

from owctl.health import wire
from owctl.health.result import ProbeResult
from tests.unit.health_servers import answering, serve

READY = b"Z\x00\x00\x00\x05I"


def authentication(code: int, payload: bytes = b"") -> bytes:
    return b"R" + struct.pack("!ii", 8 + len(payload), code) + payload


def error(code: str, message: str) -> bytes:
    body = f"SFATAL\0VFATAL\0C{code}\0M{message}\0\0".encode()
    return b"E" + struct.pack("!i", len(body) + 4) + body


def ask(answer: bytes, database: str | None = "chat") -> tuple[ProbeResult, bytes]:
    with serve(answering(answer)) as server:
        result = wire.probe_postgres(
            "127.0.0.1", server.port, user="web", database=database, timeout_seconds=2
        )
    return result, server.requests[0]


def test_a_demand_for_a_password_is_healthy() -> None:
    result, sent = ask(authentication(10, b"SCRAM-SHA-256\0\0"))
    assert (result.status, result.detail) == ("healthy", "accepts connections")
    length, protocol = struct.unpack("!ii", sent[:8])
    assert (length, protocol) == (len(sent), 196608)
    assert sent[8:] == b"user\0web\0database\0chat\0application_name\0owctl\0\0"


def test_the_database_is_named_like_the_user_by_default() -> None:
    _, sent = ask(authentication(3), database=None)
    assert b"database\0web\0" in sent


def test_a_session_without_a_password_is_followed_until_it_is_ready() -> None:
    setting = b"S" + struct.pack("!i", 4 + 4) + b"a\0b\0"
    result, sent = ask(authentication(0) + setting + READY)
    assert result.status == "healthy"
    assert "without a password" in result.detail
    assert sent.endswith(b"X\x00\x00\x00\x04")


def test_a_session_that_is_refused_after_the_login() -> None:
    result, _ = ask(authentication(0) + error("53300", "remaining slots are reserved"))
    assert result.status == "unhealthy"
    assert "no free connection" in result.detail


def test_a_session_that_never_becomes_ready() -> None:
    notice = b"N" + struct.pack("!i", 5) + b"\0"
    result, _ = ask(authentication(0) + notice * 300)
    assert (result.status, "never became ready" in result.detail) == ("unhealthy", True)


@pytest.mark.parametrize(
    ("code", "message", "status"),
    [
        ("57P03", "the database system is starting up", "starting"),
        ("57P03", "the database system is in recovery mode", "starting"),
        ("57P03", "the database system is not yet accepting connections", "starting"),
        ("57P03", "the database system is shutting down", "unhealthy"),
        ("53300", "sorry, too many clients already", "unhealthy"),
        ("28000", 'no pg_hba.conf entry for host "172.17.0.1"', "healthy"),
        ("28P01", "password authentication failed", "healthy"),
        ("3D000", 'database "chat" does not exist', "healthy"),
        ("42501", 'permission denied for database "chat"', "healthy"),
        ("55000", 'database "chat" is not currently accepting connections', "healthy"),
        ("XX000", "could not open file", "unhealthy"),
        ("", "no code at all", "unhealthy"),
    ],
)
def test_errors(code: str, message: str, status: str) -> None:
    result, _ = ask(error(code, message))
    assert result.status == status
    assert message in result.detail
    assert result.answered


def test_bare_text_of_a_server_in_distress() -> None:
    result, _ = ask(b"Ecould not fork new process for connection: Out of memory\n\0")
    assert result.status == "unhealthy"
    assert "could not fork new process" in result.detail


def test_an_error_is_shown_without_its_control_characters() -> None:
    result, _ = ask(error("XX000", "bad\x1b[2J\nthings"))
    assert result.detail == "bad [2J things (XX000)"


@pytest.mark.parametrize(
    "answer", [b"E", b"E\x00\x00", b"E\x00\x00\x00\x20SFATAL\0", b"R\x00\x00\x00\x0c\x00\x00"]
)
def test_an_answer_that_breaks_off(answer: bytes) -> None:
    result, _ = ask(answer)
    assert (result.status, result.answered) == ("unhealthy", False)
    assert result.detail == "closed the connection without a complete answer"
