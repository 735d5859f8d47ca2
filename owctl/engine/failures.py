"""What goes wrong with the engine, told in owctl's errors: its error texts, and what docker-py and sockets raise."""

import errno
import http.client
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from owctl.engine.endpoint import DEFAULT_HOST, Endpoint
from owctl.errors import (
    ContainerLost,
    EngineError,
    EnginePermissionDenied,
    EngineUnavailable,
    ImageMissing,
    NotFound,
    OwctlError,
    PortTaken,
)

# -- What the engine's error texts mean: a table from their wording to owctl's errors and hints.
# The texts are those of Engine 20.10 to 28 and of runc; what is not in the table is passed on.


PortHolder = Callable[[int, str], str | None]

_DISK_FULL = "no space left on device"
# Patterns are texts here and compiled where a failure is looked up: most runs meet none.
_PORT_IN_USE = r"port is already allocated|address already in use"
# Each wording that names the host port, in the words of several engine versions.
_PORT_NUMBER = (
    r"Bind for \S*?:(?P<port>\d+) failed",
    r"listen (?P<protocol>tcp|udp)[46]? \S*?:(?P<port>\d+):",
    r"bind host port (?:for )?(?:\[[^\]]*\]|[\d.]*):(?P<port>\d+)",
)


@dataclass(frozen=True, slots=True)
class _Known:
    """One known failure: ``why`` and ``hint`` may use the pattern's named groups."""

    pattern: str
    why: str
    hint: str
    kind: type[EngineError] = EngineError


def _known(pattern: str, why: str, hint: str, kind: type[EngineError] = EngineError) -> _Known:
    return _Known(pattern, why, hint, kind)


_TABLE = (
    _known(
        _DISK_FULL,
        "the disk is full (no space left on device)",
        "`df -h` shows which; free some with `docker system df` and `docker image prune`, or "
        "enlarge it",
    ),
    _known(
        r"container name \"/?(?P<name>[^\"]+)\" is already in use by container \"?(?P<id>\w{12})?",
        "the name {name} is taken by another container ({id})",
        "`docker rm {name}` if it is not needed (its project: `docker inspect {name}`)",
    ),
    _known(
        r"task [0-9a-f]{64}:? already exists",
        "the engine lost track of this container when it was killed",
        "owctl start, which makes the container anew",
        ContainerLost,
    ),
    _known(
        r"volume is in use - \[(?P<ids>[^\]]*)\]",
        "the volume is in use by a container ({ids})",
        "stop and remove those containers first (`docker ps -a --no-trunc` shows them)",
    ),
    _known(
        r"network (?P<name>\S+) (?:id \S+ )?has active endpoints",
        "containers are still attached to the network {name}",
        "stop those containers first: `docker network inspect {name}` names them",
    ),
    _known(
        r"all predefined address pools have been fully subnetted|"
        r"non-overlapping IPv4 address pool",
        "the engine has no free subnet left for a network",
        "remove unused networks with `docker network prune`, or give the engine more "
        "default-address-pools",
    ),
    _known(
        r"bind source path does not exist: (?P<path>.+)$",
        "the path to mount does not exist on the engine's machine: {path}",
        "create {path}, or correct the path in the compose file",
    ),
    _known(
        r"invalid (?:mount config|volume specification|mount path)(?P<why>.*)",
        "a mount is not valid{why}",
        "correct the `volumes:` of the service in the compose file",
    ),
    _known(
        r"error (?:while )?mounting \"?(?P<path>.+?)\"? to rootfs.*not a directory",
        "{path} is a folder where a file is expected, or the other way round",
        "look at {path} on the engine's machine: a missing file is often created as a folder",
    ),
    _known(
        r"exec: \\*\"(?P<program>[^\"\\]+)\\*\": (?:executable file not found|"
        r"stat .*?no such file|no such file)",
        "the image has no program {program}",
        "correct `command:` or `entrypoint:` of the service, or use another image",
    ),
    _known(
        r"exec: \\*\"(?P<program>[^\"\\]+)\\*\": permission denied",
        "the program {program} in the image is not executable",
        "make it executable when the image is built (chmod +x)",
    ),
    _known(
        r"container-init binary not found",
        "Podman lacks the program that `init: true` of the service asks for",
        "install it: `sudo apt install catatonit`",
    ),
    _known(
        r"no command specified",
        "neither the image nor the compose file says which command to run",
        "add `command:` to the service in the compose file",
    ),
    _known(
        r"(?:unable to find user|no matching entries in passwd file)(?: (?P<user>\S+))?",
        "the image has no such user",
        "correct `user:` of the service in the compose file",
    ),
    _known(
        r"conflict: unable to (?:remove|delete).*?container (?P<id>\w+)",
        "the image is used by a container ({id})",
        "remove that container first: `docker rm {id}`",
    ),
    _known(
        r"could not select device driver|unknown or invalid runtime",
        "the engine has no driver for the devices or the runtime that the service asks for",
        "install it (for GPUs the NVIDIA container toolkit), or take it out of the compose file",
    ),
    _known(
        r"cannot expose privileged port (?P<port>\d+)|bind: permission denied",
        "a rootless engine may not publish a port below 1024",
        "publish a port from 1024 upwards, or lower net.ipv4.ip_unprivileged_port_start",
    ),
    _known(
        r"minimum memory limit allowed|invalid memory|less than the minimum",
        "a resource limit is lower than the engine allows",
        "raise the limit of the service in the compose file",
    ),
    _known(
        r"no such image: (?P<image>\S+)",
        "the image {image} is not on this machine",
        "check its spelling, `owctl start --pull`, or `owctl start --build` if it is built here",
        ImageMissing,
    ),
    _known(
        r"(?:client version (?P<client>\S+) is too (?:old|new))",
        "the engine does not speak the API version {client}",
        "unset DOCKER_API_VERSION; update owctl if that does not help",
    ),
)  # fmt: skip


def is_disk_full(text: str) -> bool:
    """Return whether the engine's words say that its disk is full."""
    return _DISK_FULL in text.lower()


def engine_answer(
    status: int, text: str, action: str, port_holder: PortHolder | None = None
) -> EngineError:
    """Return the error for the engine's answer ``status`` with the message ``text``."""
    if re.search(_PORT_IN_USE, text, re.IGNORECASE):
        return _port_taken(text, action, port_holder)
    for known in _TABLE:
        match = re.search(known.pattern, text, re.IGNORECASE | re.DOTALL)
        if match:
            groups = {key: (value or "").strip() for key, value in match.groupdict("").items()}
            why, hint = known.why.format(**groups), known.hint.format(**groups)
            return known.kind(f"Cannot {action}: {why}", hint=hint, details=_details(text, why))
    if status == 404:
        return NotFound(
            f"Cannot {action}: {text}",
            hint="`owctl status` shows what exists; it may just have been removed",
        )
    return EngineError(
        f"Cannot {action}: the engine answered {status}: {text}",
        hint="`owctl doctor` checks the engine; its log is `sudo journalctl -u docker -n 50`",
    )


def _details(text: str, why: str) -> list[str]:
    return [] if text.lower() in why.lower() else [f"engine: {text}"]


def _port_taken(text: str, action: str, port_holder: PortHolder | None) -> PortTaken:
    for pattern in _PORT_NUMBER:
        match = re.search(pattern, text, re.IGNORECASE)
        if match:
            port, protocol = int(match["port"]), match.groupdict().get("protocol") or "tcp"
            break
    else:
        return PortTaken(
            f"Cannot {action}: a port that it publishes is in use",
            hint="`owctl doctor` shows who holds which port",
            details=[f"engine: {text}"],
        )
    holder = port_holder(port, protocol) if port_holder else None
    return PortTaken(
        f"Cannot {action}: port {port} of the host is in use" + (f" by {holder}" if holder else ""),
        hint=f"stop what holds port {port}, or publish another one (in .env or the compose file)",
        details=[f"engine: {text}"],
    )


# -- Turn what docker-py, requests and sockets raise into owctl's errors, each with what to try.
# An error of the connection becomes EngineUnavailable; an answer of the engine is looked up in the
# table of known texts (``known_failures``), or passed on in the engine's own words.


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
