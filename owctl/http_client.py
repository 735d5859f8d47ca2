"""HTTP as owctl speaks it to services: httpx, with one deadline for a whole exchange.

httpx's timeouts are for each read, so its connections are ours (``network``). It is imported here
alone, and this module only where something is about to be asked: most commands need neither.
"""

import errno
import re
import socket
import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

from owctl.network import ClosedEarlyError, Deadline, connect

# httpx's own command, which loads rich; and what it would use in asynchronous programs. Without
# them the import takes a quarter of the time.
_UNUSED = [name for name in ("httpx._main", "anyio", "trio") if name not in sys.modules]
sys.modules.update(dict.fromkeys(_UNUSED))  # type: ignore[arg-type]  # what makes their import fail
try:
    import httpcore
    import httpx
finally:
    for _name in _UNUSED:
        sys.modules.pop(_name, None)

Response = httpx.Response

_HEADERS = {"User-Agent": "owctl", "Connection": "close", "Accept-Encoding": "identity"}
_STATUS_LINE = re.compile(rb"HTTP/1\.\d ([1-9]\d\d)(?: (.*))?\s*")
_LONGEST_LINE_BYTES = 1 << 16
# What is read at once: to take it apart must not take long either.
_PIECE_BYTES = 1 << 14
_MOST_HEADERS = 100
_WEB = ("http", "https")


class NotHttpError(Exception):
    """What came back is not HTTP; the message is what it was, or what is wrong with it."""


class HttpClient:
    """Speaks HTTP until the deadline, each request over a connection of its own, without cookies.

    ``through`` is a socket file that leads to the server, None to connect directly. Only with
    ``proxies`` are those of the environment used. ``connected`` says whether a connection was made.
    """

    def __init__(
        self, deadline: Deadline, through: Path | None = None, *, proxies: bool = False
    ) -> None:
        self._network = _Network(deadline)
        self._client = httpx.Client(
            transport=_Transport(self._network, through, proxies),
            headers=_HEADERS,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=None,  # noqa: S113  # the deadline is the network's
            trust_env=False,
        )

    @property
    def connected(self) -> bool:
        """Whether a connection was made."""
        return self._network.connected

    @contextmanager
    def answer(
        self,
        method: str,
        url: str,
        *,
        target: str | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        redirects: int = 0,
    ) -> Iterator[Response]:
        """Ask, and give the answer while its body comes; at most ``redirects`` are followed.

        ``target`` is the path as it is sent, where the URL has none. Raises OSError when the
        connection fails (ClosedEarlyError, TimeoutError) and NotHttpError.
        """
        extensions = {"target": target.encode("ascii")} if target is not None else {}
        try:
            request = self._client.build_request(
                method, url, headers=headers, content=content, extensions=extensions
            )
        except httpx.InvalidURL as error:
            raise OSError(errno.EINVAL, str(error)) from None
        response = self._send(request)
        try:
            for _ in range(redirects):
                following = response.next_request
                if following is None or following.url.scheme not in _WEB:
                    break
                response.close()
                response = self._send(following)
            yield response
        finally:
            response.close()

    def close(self) -> None:
        """Close what is open."""
        self._client.close()

    def _send(self, request: httpx.Request) -> Response:
        try:
            return self._client.send(request, stream=True)
        except (httpx.RemoteProtocolError, httpx.InvalidURL) as error:
            # A redirection to what is no address, which httpx reads also where it follows none.
            raise NotHttpError(str(error)) from None


def read_body(response: Response, most_bytes: int) -> bytes:
    """Return the body, or its first ``most_bytes``."""
    body = bytearray()
    for piece in response.iter_raw():
        body += piece
        if len(body) >= most_bytes:
            break
    return bytes(body[:most_bytes])


class _Transport(httpx.BaseTransport):
    """Hands httpx's requests to httpcore over our network, and its errors back as OSError."""

    def __init__(self, network: "_Network", through: Path | None, proxies: bool) -> None:
        self._network = network
        self._through = str(through) if through is not None else None
        self._proxies = proxies
        self._pools: list[httpcore.ConnectionPool] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        pool = self._pool(request.url)
        self._pools.append(pool)
        assert isinstance(request.stream, httpx.SyncByteStream)
        asked = httpcore.Request(
            request.method,
            _address(request.url, request.url.raw_scheme),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            with self._network.plain_errors():
                answer = pool.handle_request(asked)
        except _SwitchedError as switched:
            return httpx.Response(
                httpx.codes.SWITCHING_PROTOCOLS,
                stream=httpx.ByteStream(b""),
                extensions={"reason_phrase": switched.args[0]},
            )
        if len(answer.headers) > _MOST_HEADERS:
            answer.close()
            raise NotHttpError(f"got more than {_MOST_HEADERS} headers")
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer, self._network),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        for pool in self._pools:
            pool.close()

    def _pool(self, url: httpx.URL) -> httpcore.ConnectionPool:
        trusted = _trusted() if url.scheme == "https" else None
        proxy = _proxy_for(url) if self._proxies else None
        if proxy is None:
            return httpcore.ConnectionPool(
                ssl_context=trusted, uds=self._through, network_backend=self._network
            )
        if proxy.url.scheme not in _WEB:
            raise OSError(errno.EPROTONOSUPPORT, f"{proxy.url.scheme} proxies are not supported")
        # A tunnel is asked for in the clear, whatever the proxy's address begins with.
        scheme = proxy.url.raw_scheme if url.scheme == "http" else b"http"
        return httpcore.HTTPProxy(
            _address(proxy.url, scheme),
            proxy_auth=proxy.raw_auth,
            ssl_context=trusted,
            network_backend=self._network,
        )


def _address(url: httpx.URL, scheme: bytes) -> httpcore.URL:
    return httpcore.URL(scheme=scheme, host=url.raw_host, port=url.port, target=url.raw_path)


@cache
def _trusted() -> ssl.SSLContext:
    """Return whom the system trusts; httpx would ask certifi, which knows no authority of the user's."""
    return ssl.create_default_context()


def _proxy_for(url: httpx.URL) -> httpx.Proxy | None:
    """Return the proxy that the environment names for an address, as all of Python reads it."""
    named = getproxies().get(url.scheme)
    if not named or proxy_bypass(url.netloc.decode("ascii")):
        return None
    return httpx.Proxy(named if "://" in named else f"http://{named}")


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response, network: "_Network") -> None:
        self._answer = answer
        self._network = network

    def __iter__(self) -> Iterator[bytes]:
        with self._network.plain_errors():
            yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


class _SwitchedError(Exception):
    """The server switched to a protocol that nobody asked for; the argument is its reason."""


class _Network(httpcore.NetworkBackend):
    """Makes connections that share a deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.connected = False
        self._stream: _Stream | None = None

    # What else httpcore says, timeouts above all, is for its own connections.
    def connect_tcp(self, host: str, port: int, *_: object, **__: object) -> "_Stream":
        return self.begin(connect(host, port, self.deadline))

    def connect_unix_socket(self, path: str, *_: object, **__: object) -> "_Stream":
        return self.begin(connect("", 0, self.deadline, Path(path)))

    def begin(self, connection: socket.socket) -> "_Stream":
        self.connected = True
        self._stream = _Stream(connection, self)
        return self._stream

    @contextmanager
    def plain_errors(self) -> Iterator[None]:
        """Raise OSError and NotHttpError for httpcore's errors."""
        try:
            yield
        except httpcore.RemoteProtocolError as error:
            if self._stream is not None and self._stream.ended:
                raise ClosedEarlyError from None
            raise NotHttpError(str(error)) from None
        except httpcore.ProxyError as error:
            raise OSError(errno.ECONNREFUSED, f"the proxy answered {error}") from None
        except (httpcore.UnsupportedProtocol, httpcore.LocalProtocolError) as error:
            raise OSError(errno.EINVAL, str(error)) from None


class _Stream(httpcore.NetworkStream):
    """A connection, whose every wait gets what is left; it also looks at the first line."""

    def __init__(self, connection: socket.socket, network: _Network) -> None:
        self._socket = connection
        self._network = network
        self._begun = False
        self.ended = False

    def read(self, *_: object, **__: object) -> bytes:
        return self._receive() if self._begun else self._read_status_line()

    def write(self, buffer: bytes, *_: object, **__: object) -> None:
        while buffer:
            self._socket.settimeout(self._network.deadline.remaining())
            buffer = buffer[self._socket.send(buffer) :]

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        *_: object,
        **__: object,
    ) -> "_Stream":
        # A handshake's timeout is for the whole of it.
        self._socket.settimeout(self._network.deadline.remaining())
        try:
            secured = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except BaseException:
            self.close()
            raise
        return self._network.begin(secured)

    def _receive(self) -> bytes:
        self._socket.settimeout(self._network.deadline.remaining())
        data = self._socket.recv(_PIECE_BYTES)
        self.ended = not data
        return data

    def _read_status_line(self) -> bytes:
        """Return what comes first; raise NotHttpError or _SwitchedError where it is no answer.

        httpcore would wait for the end of a head, which other protocols do not have.
        """
        received = b""
        while b"\n" not in received and len(received) < _LONGEST_LINE_BYTES:
            data = self._receive()
            if not data:
                break
            received += data
        line = received.partition(b"\n")[0]
        match = _STATUS_LINE.fullmatch(line)
        if received and match is None:
            raise NotHttpError(line.decode("iso-8859-1"))
        if match is not None and int(match[1]) == httpx.codes.SWITCHING_PROTOCOLS:
            raise _SwitchedError((match[2] or b"").strip())
        self._begun = True
        return received
