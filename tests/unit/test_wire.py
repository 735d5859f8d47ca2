"""Our own HTTP connection: nothing lost, nothing invented, whatever the other side does."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from owctl.engine.connection import Engine
from owctl.engine.endpoint import Endpoint, TlsFiles
from owctl.engine.transport import connect
from owctl.engine.wire import request, split_chunks
from owctl.errors import EngineError, EngineUnavailable, NotFound

BODY = bytes(range(256)) * 700  # one chunk larger than what is kept whole
CHUNKED = b"5\r\nhello\r\n1;ext=1\r\n \r\n%x\r\n%b\r\n2\r\n\r\n\r\n0\r\n\r\n" % (len(BODY), BODY)
WHOLE = b"hello " + BODY + b"\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000, 65_537, len(CHUNKED)])
def test_a_chunked_body_is_the_same_however_it_is_cut(size: int):
    kept, left, ended, found = b"", 0, False, b""
    for start in range(0, len(CHUNKED), size):
        if ended:
            assert start >= len(CHUNKED) - 2  # the last line end says nothing new
            break
        pieces, kept, left, ended = split_chunks(kept + CHUNKED[start : start + size], left)
        found += b"".join(pieces)
    assert ended
    assert found == WHOLE


def test_small_chunks_stay_whole():
    assert split_chunks(b"3\r\nabc\r\n2\r\nde\r\n4\r\nfg", 0) == (
        [b"abc", b"de"],
        b"4\r\nfg",
        0,
        False,
    )


Answer = Callable[[socket.socket], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Engine]]:
    """Run ``answer`` for one connection on a loopback port, after the request's head is read."""
    threads = []

    def start(answer: Answer) -> Engine:
        listener = socket.create_server(("127.0.0.1", 0))

        def run() -> None:
            with listener:
                connection, _ = listener.accept()
                with connection:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        head += connection.recv(4096)
                    answer(connection)

        thread = threading.Thread(target=run)
        thread.start()
        threads.append(thread)
        port = listener.getsockname()[1]
        return Engine(Endpoint(f"tcp://127.0.0.1:{port}", "a test"), "1.41", {})

    yield start
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def answered(serve: Callable[[Answer], Engine], data: bytes) -> bytes:
    engine = serve(lambda connection: connection.sendall(data))
    with request(engine, "GET", "/x", action="ask") as response:
        return response.body()


def test_bodies_of_every_kind(serve: Callable[[Answer], Engine]):
    assert answered(serve, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc") == b"abc"
    assert answered(serve, b"HTTP/1.1 200 OK\r\n\r\nuntil the end") == b"until the end"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED
    assert answered(serve, chunked) == WHOLE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nrubbish\r\n",
    ],
)
def test_an_answer_that_is_cut_off_is_an_error(serve: Callable[[Answer], Engine], data: bytes):
    with pytest.raises(EngineUnavailable, match="Cannot ask"):
        answered(serve, data)


def test_the_engine_is_quoted(serve: Callable[[Answer], Engine]):
    head = b"HTTP/1.1 %s\r\nContent-Length: 21\r\n\r\n"
    with pytest.raises(NotFound, match="Cannot ask: none there"):
        answered(serve, head % b"404 Not Found" + b'{"message":"none there"}'[:24].ljust(21))
    with pytest.raises(EngineError, match="plain words"):
        answered(serve, head % b"500 Oh" + b"plain words".ljust(21))


def test_what_comes_with_the_head_is_not_lost(serve: Callable[[Answer], Engine]):
    engine = serve(lambda connection: connection.sendall(b"HTTP/1.1 101 UPGRADED\r\n\r\nearly"))
    with request(engine, "POST", "/x", action="ask", document={}, upgrade=True) as response:
        assert b"".join(response.raw()) == b"early"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    key, authority = folder / "key.pem", folder / "ca.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
        f"-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {authority}".split(),
        check=True,
        capture_output=True,
    )
    return TlsFiles(authority=authority, certificate=authority, key=key, verify=True)


@pytest.fixture
def tls_server(
    certificate: TlsFiles,
) -> Iterator[Callable[[Callable[[ssl.SSLSocket], None]], Endpoint]]:
    """As ``serve``, with TLS; ``answer`` begins right after the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert certificate.certificate is not None
    context.load_cert_chain(certificate.certificate, certificate.key)
    threads = []

    def start(answer: Callable[[ssl.SSLSocket], None]) -> Endpoint:
        listener = socket.create_server(("127.0.0.1", 0))

        def run() -> None:
            with listener:
                plain, _ = listener.accept()
                # A client that goes away, or that trusts nobody, is part of what is tested.
                with plain, contextlib.suppress(OSError):
                    tls = context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False)
                    with tls:
                        answer(tls)

        thread = threading.Thread(target=run)
        thread.start()
        threads.append(thread)
        return Endpoint(f"tcp://127.0.0.1:{listener.getsockname()[1]}", "a test", tls=certificate)

    yield start
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_tls_is_half_closed(tls_server):
    def echo_everything_after_the_end(tls: ssl.SSLSocket) -> None:
        received = b""
        while data := tls.recv(65536):
            received += data
        tls.sendall(received)
        tls.sendall(b"end")
        tls.unwrap()

    transport = connect(tls_server(echo_everything_after_the_end), "try")
    transport.settimeout(10)
    transport.sendall(BODY)
    transport.shutdown_write()
    found = b""
    while data := transport.recv(1 << 16):
        found += data
    transport.close()
    assert found == BODY + b"end"


def test_tls_both_ways_at_once(tls_server):
    def echo(tls: ssl.SSLSocket) -> None:
        while data := tls.recv(65536):
            tls.sendall(data)
        tls.unwrap()

    transport = connect(tls_server(echo), "try")
    transport.settimeout(10)

    def send() -> None:
        for _ in range(40):
            transport.sendall(BODY)
        transport.shutdown_write()

    sender = threading.Thread(target=send)
    sender.start()
    size = 0
    while data := transport.recv(1 << 16):
        size += len(data)
    sender.join()
    transport.close()
    assert size == 40 * len(BODY)


def test_tls_that_ends_without_saying_so_is_an_error(tls_server):
    transport = connect(tls_server(lambda tls: tls.sendall(b"part")), "try")
    transport.settimeout(10)
    assert transport.recv(100) == b"part"
    with pytest.raises(ConnectionError):
        transport.recv(100)
    transport.close()


def test_a_certificate_of_somebody_else_is_refused(tls_server):
    endpoint = tls_server(lambda tls: None)
    trusting_nobody = TlsFiles(authority=None, certificate=None, key=None, verify=True)
    with pytest.raises(EngineUnavailable, match="TLS"):
        connect(Endpoint(endpoint.host, "a test", tls=trusting_nobody), "try")
