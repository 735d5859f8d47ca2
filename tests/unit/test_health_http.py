"""The HTTP and Socket.IO probes' verdicts."""

import threading
from collections.abc import Iterator
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from owctl.health import http
from owctl.health.result import ProbeResult
from tests.unit.health_servers import Play, Session, answering, endless, serve


def page(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def replying(answer: bytes) -> Play:
    def play(session: Session) -> None:
        session.receive_until(b"\r\n\r\n")
        session.send(answer)

    return play


def ask(answer: bytes, path: str = "/health") -> tuple[ProbeResult, bytes]:
    with serve(replying(answer)) as server:
        result = http.probe("127.0.0.1", server.port, path=path, timeout_seconds=2)
    return result, server.requests[0]


def test_2xx_is_healthy() -> None:
    result, sent = ask(page("200 OK", b'{"status": true}'))
    assert (result.status, result.detail) == ("healthy", "HTTP 200")
    assert sent.startswith(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:")
    assert ask(page("204 No Content"))[0].status == "healthy"


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (page("500 Internal Server Error"), "HTTP 500: Internal Server Error"),
        (page("503 Unavailable", b'{"detail": "starting"}'), 'HTTP 503: {"detail": "starting"}'),
        (page("404 Not Found", b"\x1b[31mno"), "HTTP 404: [31mno"),
        (page("302 Found", b"", "Location: http://a/b"), "HTTP 302, redirects to http://a/b"),
        (page("101 Switching Protocols"), "HTTP 101: Switching Protocols"),
        (page("400 Bad Request", b"x" * 500), "HTTP 400: " + "x" * 79 + "…"),
    ],
)
def test_any_other_status_is_unhealthy(answer: bytes, detail: str) -> None:
    result, _ = ask(answer)
    assert (result.status, result.detail) == ("unhealthy", detail)
    assert result.answered


def test_a_redirect_is_not_followed() -> None:
    with serve(replying(page("200 OK"))) as other:
        location = f"Location: http://127.0.0.1:{other.port}/health"
        result, _ = ask(page("301 Moved", b"", location))
    assert result.status == "unhealthy"
    assert other.requests == []


def test_a_path_cannot_smuggle_a_header() -> None:
    _, sent = ask(page("200 OK"), path="/a b\r\nX: y?q=ü&r=1")
    assert sent.startswith(b"GET /a%20b%0D%0AX:%20y?q=%C3%BC&r=1 HTTP/1.1\r\n")


def test_an_endless_body_is_cut() -> None:
    with serve(endless(b"HTTP/1.1 200 OK\r\n\r\n")) as server:
        result = http.probe("127.0.0.1", server.port, timeout_seconds=2)
    assert result.status == "healthy"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
def test_a_body_that_breaks_off_is_unhealthy(answer: bytes) -> None:
    result, _ = ask(answer)
    assert result.detail == "closed the connection without a complete answer"
    assert result.status == "unhealthy"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n",
        b"HTTP/1.1 " + b"2" * 70_000 + b"\r\n\r\n",
    ],
)
def test_broken_http_is_unhealthy(answer: bytes) -> None:
    assert ask(answer)[0].status == "unhealthy"


# --- Socket.IO -------------------------------------------------------------------------------


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


class Bridge:
    """A real python-socketio server behind the standard library's WSGI server."""

    def __init__(self) -> None:
        import socketio as library

        self.requests: list[tuple[str, str]] = []
        self.server = library.Server(async_mode="threading", ping_interval=5, ping_timeout=5)
        application = library.WSGIApp(self.server, self._health)

        def recorded(environ: dict[str, str], start_response: object) -> object:
            self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
            return application(environ, start_response)

        self.http = make_server("127.0.0.1", 0, recorded, handler_class=QuietHandler)
        self.port = self.http.server_port

    @staticmethod
    def _health(environ: dict[str, str], start_response: object) -> list[bytes]:
        status = "200 OK" if environ["PATH_INFO"] == "/health" else "404 Not Found"
        start_response(status, [("Content-Type", "application/json")])
        return [b'{"status": "ok"}']


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    bridge = Bridge()
    thread = threading.Thread(target=bridge.http.serve_forever, args=(0.02,))
    thread.start()
    yield bridge
    bridge.http.shutdown()
    thread.join()
    bridge.http.server_close()
    bridge.server.shutdown()


def test_a_real_bridge_opens_and_closes_a_session(bridge: Bridge) -> None:
    result = http.probe_socketio("127.0.0.1", bridge.port, timeout_seconds=2)
    assert (result.status, result.detail) == ("healthy", "HTTP 200, Engine.IO handshake")
    assert bridge.requests == [
        ("GET", "/health"),
        ("GET", "/socket.io/"),
        ("POST", "/socket.io/"),
    ]
    # A closed session is swept out later; until then it is marked.
    assert [session.closed for session in bridge.server.eio.sockets.values()] in ([True], [])


def test_gating_asks_for_health_only(bridge: Bridge) -> None:
    result = http.probe_socketio("127.0.0.1", bridge.port, gating=True, timeout_seconds=2)
    assert (result.status, result.detail) == ("healthy", "HTTP 200")
    assert bridge.requests == [("GET", "/health")]


def test_health_must_be_2xx_before_the_handshake(bridge: Bridge) -> None:
    result = http.probe_socketio("127.0.0.1", bridge.port, path="/nothing", timeout_seconds=2)
    assert (result.status, result.detail) == ("unhealthy", 'HTTP 404: {"status": "ok"}')
    assert len(bridge.requests) == 1


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (page("400 Bad Request", b'"unsupported version"'), "handshake: HTTP 400"),
        (page("200 OK", b"<html>"), "no session in '<html>'"),
        (page("200 OK", b"0{broken"), "no session"),
        (page("200 OK", b"0" + b"[" * 60_000), "no session"),
        (page("200 OK", b"0[]"), "no session"),
        (page("200 OK", b'0{"sid": 5}'), "no session"),
        (page("200 OK", b'0{"sid": ""}'), "no session"),
        (page("200 OK", b""), "no session"),
    ],
)
def test_a_handshake_that_fails_is_unhealthy(answer: bytes, detail: str) -> None:
    with serve(replying(page("200 OK")), replying(answer)) as server:
        result = http.probe_socketio("127.0.0.1", server.port, timeout_seconds=2)
    assert result.status == "unhealthy"
    assert detail in result.detail


def test_the_deadline_covers_all_three_requests() -> None:
    opened = page("200 OK", b'0{"sid": "a b"}')
    with serve(replying(page("200 OK")), replying(opened), answering()) as server:
        result = http.probe_socketio("127.0.0.1", server.port, timeout_seconds=0.3)
    assert result.status == "unhealthy"
    assert server.requests[2].startswith(b"POST /socket.io/?EIO=4&transport=polling&sid=a%20b ")
