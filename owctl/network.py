"""Connections with one deadline for everything: the name's resolution, and each wait after it.

A socket's own timeout starts again with every byte, so a server that drips would hold a caller
forever, and the system's resolver has no timeout at all.
"""

import socket
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

# Resolutions at the same time, each of another name; a resolver that hangs gets no more threads.
MOST_RESOLUTIONS = 8

_Addresses = list[tuple[socket.AddressFamily, tuple[Any, ...]]]


class ClosedEarlyError(ConnectionError):
    """The server closed the connection before its answer was complete."""


class Deadline:
    """The moment in ``seconds`` by which all has to be done."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = time.monotonic()

    def extend(self, seconds: float) -> None:
        """Allow so many seconds more."""
        self.seconds += seconds

    def remaining(self) -> float:
        """Return the seconds that are left, more than 0; raises TimeoutError where there are none."""
        remaining = self._began + self.seconds - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        return remaining


def connect(host: str, port: int, deadline: Deadline, through: Path | None = None) -> socket.socket:
    """Return a socket that is connected to ``host``:``port``, or to the socket file ``through``.

    Raises OSError (TimeoutError once the time is up), OverflowError for a port that cannot be.
    """
    if through is not None:
        return _open(socket.AF_UNIX, str(through), deadline.remaining())
    addresses = _resolve(host, deadline)
    for left in range(len(addresses), 0, -1):
        family, (ip, _, *rest) = addresses[-left]
        try:
            # An address that is silent leaves the others their share.
            return _open(family, (ip, port, *rest), deadline.remaining() / left)
        except OSError:
            if left == 1:
                raise
    raise socket.gaierror(socket.EAI_NONAME, f"{host} has no address")


def reason(error: Exception, seconds: float, *, connected: bool) -> str:
    """Return in a few words why an exchange of at most ``seconds`` failed."""
    if isinstance(error, TimeoutError):
        what = "no complete answer" if connected else "no connection"
        return f"{what} within {seconds:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ClosedEarlyError):
        return "closed the connection without a complete answer"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "reset the connection"
    words = error.strerror if isinstance(error, OSError) else None
    return words or str(error)


def _open(
    family: socket.AddressFamily, address: str | tuple[Any, ...], seconds: float
) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect(address)
        if family != socket.AF_UNIX:
            # A request's head and body are sent one after the other, and neither shall wait.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connection.close()
        raise
    return connection


# --- names -------------------------------------------------------------------------------------

_resolutions: dict[str, Future[_Addresses]] = {}
_resolutions_change = threading.Condition()


def _resolve(host: str, deadline: Deadline) -> _Addresses:
    try:
        return _ask_resolver(host, socket.AI_NUMERICHOST)
    except socket.gaierror:
        # It is a name, whose resolution may block: in a thread that is given up at the deadline.
        return _resolution(host, deadline).result(deadline.remaining())


def _resolution(host: str, deadline: Deadline) -> "Future[_Addresses]":
    """Return the resolution of a name that is under way, or a new one as soon as there is room."""

    def has_place() -> bool:
        return host in _resolutions or len(_resolutions) < MOST_RESOLUTIONS

    with _resolutions_change:
        if not _resolutions_change.wait_for(has_place, deadline.remaining()):
            raise TimeoutError
        if host in _resolutions:
            return _resolutions[host]
        future = _resolutions[host] = Future()
    # A daemon thread: where the resolver hangs, owctl ends all the same.
    threading.Thread(
        target=_fulfil, args=(host, future), name="owctl-resolver", daemon=True
    ).start()
    return future


def _fulfil(host: str, future: "Future[_Addresses]") -> None:
    addresses: _Addresses = []
    error: BaseException | None = None
    try:
        addresses = _ask_resolver(host)
    except BaseException as caught:  # noqa: BLE001  # not swallowed: result() raises it
        error = caught
    with _resolutions_change:
        del _resolutions[host]
        _resolutions_change.notify_all()
    if error is None:
        future.set_result(addresses)
    else:
        future.set_exception(error)


def _ask_resolver(host: str, flags: int = 0) -> _Addresses:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
    return [(family, address) for family, _, _, _, address in found]
