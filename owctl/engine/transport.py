"""Byte streams to the engine: a connection of our own over a unix socket, TCP or TLS."""

import contextlib
import math
import socket
import ssl
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from owctl.engine.endpoint import Endpoint, TlsFiles
from owctl.engine.failures import connection_error

if TYPE_CHECKING:
    import requests


# -- Byte streams to the engine: a connection of our own over a unix socket, TCP or TLS.
# docker-py's response sockets read through http.client's buffer (early output of an exec can be
# lost) and cannot be half-closed over TLS. What streams much, or in both directions, uses these.


CONNECT_TIMEOUT_SECONDS = 10.0
TLS_RECORD_BYTES = 1 << 14


class Transport(Protocol):
    """What a connection can do. One thread may receive while another sends."""

    def recv(self, size: int) -> bytes:
        """Return up to ``size`` bytes, b"" at the end; raises OSError, TimeoutError."""

    def sendall(self, data: bytes | memoryview) -> None:
        """Send all of ``data``; raises OSError."""

    def shutdown_write(self) -> None:
        """Tell the other side that nothing more will be sent; receiving goes on."""

    def settimeout(self, seconds: float | None) -> None:
        """Bound every later wait; None waits for ever."""

    def fileno(self) -> int:
        """Return the descriptor, for select."""

    def close(self) -> None:
        """Close, which also wakes up a thread that is receiving."""


class PlainTransport:
    """A unix or TCP socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.recv = sock.recv
        self.sendall = sock.sendall
        self.settimeout = sock.settimeout
        self.fileno = sock.fileno

    def shutdown_write(self) -> None:
        """Half-close the socket."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket."""
        _close(self._socket)


class TlsTransport:
    """TLS over a TCP socket, with its own record buffers.

    ssl.SSLSocket may not be used by two threads at once and cannot be half-closed while data
    arrives; an SSLObject between two memory buffers can do both.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_name: str) -> None:
        self._socket = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._decrypted = bytearray()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_name or None
        )
        self._lock = threading.Lock()
        self._send_lock = threading.Lock()
        self.settimeout = sock.settimeout
        self.fileno = sock.fileno
        self._handshake()

    def _handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._receive_records()
            else:
                return
            finally:
                self._flush()  # also what tells the other side that it is not trusted

    def _flush(self) -> None:
        # Records leave in the order in which they were made. The buffers are not thread-safe
        # (OpenSSL works on them without the interpreter's lock), so they have ``_lock``.
        with self._send_lock:
            with self._lock:
                pending = self._outgoing.read()
            if pending:
                self._socket.sendall(pending)

    def _receive_records(self) -> None:
        records = self._socket.recv(1 << 18)
        with self._lock:
            if records:
                self._incoming.write(records)
            else:
                self._incoming.write_eof()

    def recv(self, size: int) -> bytes:
        """Return decrypted bytes; b"" after the peer's close_notify."""
        while True:
            with self._lock:
                ended = self._decrypt(size)
                if self._decrypted or ended:
                    found = bytes(self._decrypted[:size])
                    del self._decrypted[:size]
                    return found
            self._flush()  # a key update may have to be answered
            self._receive_records()

    def _decrypt(self, size: int) -> bool:
        """Decrypt what has come, until there are ``size`` bytes; returns whether it was the end."""
        try:
            while len(self._decrypted) < size:
                part = self._tls.read(TLS_RECORD_BYTES)
                if not part:
                    return True
                self._decrypted += part
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLEOFError as error:
            if not self._decrypted:
                raise ConnectionResetError("TLS ended without close_notify") from error
        return False

    def sendall(self, data: bytes | memoryview) -> None:
        """Encrypt and send."""
        view = memoryview(data)
        for start in range(0, len(view), 1 << 18):
            with self._lock:
                self._tls.write(view[start : start + (1 << 18)])
            self._flush()

    def shutdown_write(self) -> None:
        """Send close_notify; what the peer still sends stays readable."""
        with self._lock, contextlib.suppress(ssl.SSLWantReadError):
            # OpenSSL takes data that it meets here for an error: none may be left to be met.
            if not self._decrypt(sys.maxsize):
                self._tls.unwrap()
        self._flush()

    def close(self) -> None:
        """Close the socket."""
        _close(self._socket)


def connect(endpoint: Endpoint, action: str) -> Transport:
    """Open a connection to the engine's address.

    ``action`` completes "Cannot …" in the errors: EnginePermissionDenied, EngineUnavailable.
    """
    try:
        return _open(endpoint)
    except OSError as error:
        raise connection_error(error, action, endpoint) from error


def _open(endpoint: Endpoint) -> Transport:
    path = endpoint.local_socket()
    if path is not None:
        return PlainTransport(_unix_socket(str(path)))
    address = urlsplit(endpoint.host)
    port = address.port or (2376 if endpoint.tls else 2375)
    sock = socket.create_connection(
        (address.hostname or "localhost", port), CONNECT_TIMEOUT_SECONDS
    )
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if endpoint.tls is None:
        return PlainTransport(sock)
    try:
        return TlsTransport(sock, _tls_context(endpoint.tls), address.hostname or "")
    except OSError:
        sock.close()
        raise


def _unix_socket(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(CONNECT_TIMEOUT_SECONDS)
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


def _tls_context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files.authority)
    if not files.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if files.certificate and files.key:
        context.load_cert_chain(files.certificate, files.key)
    return context


def _close(sock: socket.socket) -> None:
    # shutdown first: close alone does not wake up a thread that sits in recv.
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


# -- HTTP over a socket file, for clients that are built on requests.


def speak_through(session: "requests.Session", path: Path, timeout_seconds: float) -> None:
    """Let a session send all its ``http://`` requests to the server behind a socket file."""
    from docker.transport import UnixHTTPAdapter

    adapter = UnixHTTPAdapter(f"http+unix://{path}", timeout=math.ceil(timeout_seconds))
    session.mount("http://", adapter)
