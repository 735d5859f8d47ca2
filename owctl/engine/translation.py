"""Turn what docker-py, requests and sockets raise into owctl's errors, each with what to try.

An error of the connection becomes EngineUnavailable; an answer of the engine is looked up in the
table of known texts (``known_failures``), or passed on in the engine's own words.
"""

import errno
import http.client
import os
import socket
import ssl
from collections.abc import Callable, Iterator

from owctl.engine.endpoint import DEFAULT_HOST, Endpoint
from owctl.engine.known_failures import engine_answer
from owctl.errors import EnginePermissionDenied, EngineUnavailable, OwctlError

PortHolder = Callable[[int, str], str | None]

_UNREACHABLE = {
    errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.ETIMEDOUT,
}  # fmt: skip
_GONE = (ConnectionResetError, BrokenPipeError, ConnectionAbortedError, http.client.HTTPException)


def translate_error(
    error: Exception, action: str, endpoint: Endpoint, port_holder: PortHolder | None = None
) -> OwctlError | None:
    """Return the owctl error for ``error``, met while trying to ``action``.

    None means that it is none of the engine's (a programming error, a file of ours): let it pass.
    ``port_holder`` is asked who holds a host port (number, protocol).
    """
    if isinstance(error, OwctlError):
        return None
    import docker.errors
    import requests.exceptions
    import urllib3.exceptions

    if isinstance(error, docker.errors.APIError) and error.response is not None:
        text = str(error.explanation or "").strip() or str(error)
        return engine_answer(int(error.response.status_code), text, action, port_holder)
    connection_errors = (
        docker.errors.DockerException,
        requests.exceptions.RequestException,
        urllib3.exceptions.HTTPError,
        http.client.HTTPException,
    )
    if isinstance(error, connection_errors):
        return connection_error(error, action, endpoint)
    if isinstance(error, OSError) and _is_of_a_socket(error):
        return connection_error(error, action, endpoint)
    return None


def connection_error(error: Exception, action: str, endpoint: Endpoint) -> EngineUnavailable:
    """Return the error for a connection that could not be made or did not last."""
    causes = list(causes_of(error))
    if endpoint.tunnel is not None and not any(isinstance(c, TimeoutError) for c in causes):
        return endpoint.tunnel.explain(action)
    for cause in causes:
        found = _by_cause(cause, action, endpoint)
        if found is not None:
            return found
    if any("timed out" in str(cause).lower() for cause in causes):
        return _too_slow(action, endpoint)
    return EngineUnavailable(
        f"Cannot {action}: no answer from the Docker engine at {endpoint.host} ({causes[-1]})",
        hint=_where_hint(endpoint),
    )


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and everything that it wraps, outermost first, each once."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = (*current.args, getattr(current, "reason", None))
        waiting += [item for item in inner if isinstance(item, BaseException)]
        waiting += [item for item in (current.__cause__, current.__context__) if item is not None]


def _by_cause(cause: BaseException, action: str, endpoint: Endpoint) -> EngineUnavailable | None:
    """Return the error for one cause that says all, None for a mere wrapper."""
    if isinstance(cause, FileNotFoundError):
        return _nobody(action, endpoint, "there is no such socket")
    if isinstance(cause, ConnectionRefusedError):
        return _nobody(action, endpoint, "nobody listens there")
    if isinstance(cause, socket.gaierror):
        return _nobody(action, endpoint, "the host name is unknown")
    if isinstance(cause, OSError) and cause.errno in _UNREACHABLE:
        return _nobody(action, endpoint, os.strerror(cause.errno or 0).lower())
    if isinstance(cause, PermissionError):
        return EnginePermissionDenied(
            f"Cannot {action}: you may not use the Docker engine's socket {endpoint.host}",
            hint="`sudo usermod -aG docker $USER`, then sign in again; or run this with sudo"
            + _rootless_hint(endpoint),
        )
    if isinstance(cause, ssl.SSLError):
        return _broken_tls(cause, action, endpoint)
    if isinstance(cause, TimeoutError):
        return _too_slow(action, endpoint)
    if isinstance(cause, _GONE) or type(cause).__name__ in {"IncompleteRead", "InvalidChunkLength"}:
        return EngineUnavailable(
            f"Cannot {action}: the Docker engine at {endpoint.host} went away while it was asked",
            hint="see why it stopped with `sudo journalctl -u docker -n 50`, start it again with "
            "`sudo systemctl start docker`, and repeat this command",
        )
    return None


def _nobody(action: str, endpoint: Endpoint, why: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"Cannot {action}: no Docker engine answers at {endpoint.host} ({why})",
        hint=_where_hint(endpoint),
    )


def _too_slow(action: str, endpoint: Endpoint) -> EngineUnavailable:
    return EngineUnavailable(
        f"Cannot {action}: the Docker engine at {endpoint.host} went away while it was asked "
        "(no answer in time)",
        hint="the engine hangs or the machine is overloaded: look at `docker info` and "
        "`sudo journalctl -u docker -n 50`, then repeat this command",
    )


def _broken_tls(cause: ssl.SSLError, action: str, endpoint: Endpoint) -> EngineUnavailable:
    return EngineUnavailable(
        f"Cannot {action}: TLS with the Docker engine at {endpoint.host} failed "
        f"({getattr(cause, 'verify_message', '') or cause.reason or cause})",
        hint="check DOCKER_TLS_VERIFY and the ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH "
        "(or of the docker context)",
    )


def _where_hint(endpoint: Endpoint) -> str:
    if endpoint.host == DEFAULT_HOST:
        start = "start it with `sudo systemctl start docker` (or start Docker Desktop)"
        return f"{start}; is it elsewhere, say so with DOCKER_HOST or --context" + _rootless_hint(
            endpoint
        )
    return (
        f"the address comes from {endpoint.chosen_by}: correct it, or start the engine there"
        + _rootless_hint(endpoint)
    )


def _rootless_hint(endpoint: Endpoint) -> str:
    if endpoint.runtime_dir is None:
        return ""
    rootless = endpoint.runtime_dir / "docker.sock"
    if endpoint.socket_path == rootless or not rootless.is_socket():
        return ""
    return f"; a rootless engine has its socket here: `export DOCKER_HOST=unix://{rootless}`"


def _is_of_a_socket(error: OSError) -> bool:
    # An OSError with a file name, or of the disk, is about a file of ours and not the engine's.
    if error.filename is not None:
        return False
    kinds = (ConnectionError, TimeoutError, FileNotFoundError, PermissionError, socket.gaierror)
    return isinstance(error, (*kinds, ssl.SSLError)) or error.errno in _UNREACHABLE
