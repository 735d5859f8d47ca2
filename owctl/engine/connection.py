"""The connection to one Docker engine: docker-py loaded lean, one API version, a client per thread, errors translated."""

import http.client
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

from owctl.engine.endpoint import Endpoint, is_loopback, proxy_environment, resolve_endpoint
from owctl.engine.failures import translate_error
from owctl.errors import EngineError, EngineUnavailable

if TYPE_CHECKING:
    from docker.api import APIClient


# -- docker-py, loaded without what owctl never uses of it.


_SSH = "docker.transport.sshconn"


def import_docker() -> None:
    """Import the package, for the first time or again.

    Where paramiko is installed, which an extra of owctl brings, docker-py loads it for addresses of its
    own kind of ssh, and that takes as long as all the rest. Here such an engine is behind a socket
    file (``ssh_tunnel``), so that part is said not to be there, which docker-py allows for.
    """
    if "docker" not in sys.modules:
        sys.modules[_SSH] = None  # type: ignore[assignment]  # what makes its import fail
    try:
        import docker  # noqa: F401
    finally:
        if _SSH in sys.modules and sys.modules[_SSH] is None:
            del sys.modules[_SSH]


# -- What answers to ``/version``: which engine it is, and which API version to speak with it.


MINIMUM_API_VERSION = "1.41"
HIGHEST_TESTED_API_VERSION = "1.52"


def is_podman(server: Mapping[str, Any]) -> bool:
    """Return whether the answer is that of Podman, which speaks docker's API beside its own."""
    components = server.get("Components") or []
    return any((component or {}).get("Name") == "Podman Engine" for component in components)


def negotiate(server: Mapping[str, Any]) -> str:
    """Return the API version to speak with the engine that answered ``server`` to ``/version``.

    It is the engine's own, but no later than what owctl is tested with.
    Raises EngineError when there is none that both know.
    """
    offered = str(server["ApiVersion"])
    minimum = str(server.get("MinAPIVersion") or MINIMUM_API_VERSION)
    engine = f"Docker engine {server.get('Version', '')} (API {offered})"
    if version_key(offered) < version_key(MINIMUM_API_VERSION):
        raise EngineError(
            f"Cannot use this engine: {engine} is too old",
            hint=f"update Docker to 20.10 or later (API {MINIMUM_API_VERSION})",
        )
    if version_key(minimum) > version_key(HIGHEST_TESTED_API_VERSION):
        raise EngineError(
            f"Cannot use this engine: {engine} speaks nothing older than API {minimum}",
            hint=f"update owctl: this one knows the API up to {HIGHEST_TESTED_API_VERSION}",
        )
    return min(offered, HIGHEST_TESTED_API_VERSION, key=version_key)


def version_key(version: str) -> tuple[int, ...]:
    """Return "1.41" as (1, 41), which compares as versions do."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


# -- The connection to one Docker engine: a client per thread, one API version, errors translated.


Item = TypeVar("Item")
Result = TypeVar("Result")

CONNECT_TIMEOUT_SECONDS = 10
REQUEST_TIMEOUT_SECONDS = 60
WORKERS = 8
_VERSION_REQUEST = b"GET /version HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n"


class Engine:
    """One Docker engine. Build it with ``connect``; ``close`` it (or use it in ``with``)."""

    def __init__(self, endpoint: Endpoint, api_version: str, server: Mapping[str, Any]) -> None:
        self.endpoint = endpoint
        self.host = endpoint.host
        self.api_version = api_version
        self.engine_version = str(server.get("Version", ""))
        self.is_podman = is_podman(server)
        # What the docker command's configuration gives to every container it creates.
        self.proxy_environment: Mapping[str, str] = {}
        self._local = threading.local()
        self._lock = threading.Lock()
        self._clients: dict[threading.Thread, APIClient] = {}
        self._workers: ThreadPoolExecutor | None = None
        self._info: dict[str, Any] | None = None
        self._info_at = datetime.min.replace(tzinfo=UTC)

    @classmethod
    def connect(cls, context: str | None, environ: Mapping[str, str]) -> "Engine":
        """Find the engine, agree on an API version and return the connection.

        Raises EngineUnavailable (no engine, unknown context, broken TLS), EnginePermissionDenied,
        and EngineError for an engine that is too old or too new.
        """
        endpoint = _with_tunnel(resolve_endpoint(context, environ))
        try:
            server = _ask_version(endpoint)
            engine = cls(endpoint, negotiate(server), server)
        except BaseException:
            if endpoint.tunnel is not None:
                endpoint.tunnel.close()
            raise
        if endpoint.tunnel is not None:
            endpoint.tunnel.was_used = True
        engine.proxy_environment = proxy_environment(endpoint.host, environ)
        return engine

    @property
    def api(self) -> "APIClient":
        """The calling thread's own docker-py client (its requests are not thread-safe)."""
        client: APIClient | None = getattr(self._local, "client", None)
        if self.endpoint.tunnel is not None:
            # Mends one that was lost; the socket stays the same.
            self.endpoint.tunnel.engine_socket()
        if client is None:
            client = open_client(self.endpoint, self.api_version, REQUEST_TIMEOUT_SECONDS)
            self._local.client = client
            with self._lock:
                self._forget_finished_threads()
                self._clients[threading.current_thread()] = client
        return client

    @property
    def connection_number(self) -> int:
        """Which connection to the engine's machine is in use: it grows when one was lost and mended.

        What came before and what comes after the end of a stream are one conversation only if
        the number is the same.
        """
        return 0 if self.endpoint.tunnel is None else self.endpoint.tunnel.number

    @property
    def engine_id(self) -> str:
        """The engine's own identity, the same through whichever address it is reached."""
        if self.is_podman:
            # Its ID is another one each time it is asked.
            return f"podman {self.info.get('Name')} {self.info.get('DockerRootDir')}"
        return str(self.info.get("ID") or self.host)

    @property
    def info(self) -> Mapping[str, Any]:
        """What the engine says about itself (``docker info``), asked once."""
        if self._info is None:
            with self.translate("ask the engine about itself"):
                asked_at = datetime.now(UTC)
                self._info = self.api.info()
                self._info_at = asked_at + (datetime.now(UTC) - asked_at) / 2
        return self._info

    def now(self) -> datetime:
        """Return the time by the engine's own clock, which another machine's logs and ages go by."""
        return datetime.now(UTC) + timedelta(seconds=self.clock_ahead_seconds)

    @property
    def clock_ahead_seconds(self) -> float:
        """How far the engine's clock is ahead of this machine's; one on this machine has the same."""
        if self.endpoint.is_local:
            return 0.0
        said = str(self.info.get("SystemTime") or "")
        try:
            return (datetime.fromisoformat(said) - self._info_at).total_seconds()
        except (ValueError, TypeError):
            return 0.0

    def machine_name(self) -> str | None:
        """Return the name at which the engine's machine is reached, None for this machine."""
        tunnel = self.endpoint.tunnel
        return self.endpoint.machine if tunnel is None else tunnel.host_name()

    @property
    def is_rootless(self) -> bool:
        """Whether the engine runs without root's rights, with networks that its machine cannot see."""
        options = self.info.get("SecurityOptions") or []
        return self.info.get("Rootless") is True or any(
            str(option).startswith("name=rootless") for option in options
        )

    def at_least(self, version: str) -> bool:
        """Return whether the API version in use is ``version`` ("1.44") or later."""
        return version_key(self.api_version) >= version_key(version)

    @contextmanager
    def translate(self, action: str) -> Iterator[None]:
        """Turn whatever docker raises inside into "Cannot <action>: <why>" with a hint."""
        try:
            yield
        except Exception as error:
            translated = translate_error(error, action, self.endpoint, self._port_holder)
            if translated is None:
                raise
            raise translated from error

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        quick: bool = False,
    ) -> list[Result]:
        """Return ``function`` of every item, in order, worked on by a few threads at once.

        ``quick`` items, a request each that the engine answers from memory, are worked on one by
        one where the engine is on this machine: making threads and clients takes longer.
        The first error is raised after all that were begun have ended.
        """
        waiting = list(items)
        here = quick and self.endpoint.is_local and len(waiting) <= WORKERS
        if here or len(waiting) < 2 or getattr(self._local, "is_worker", False):
            return [function(item) for item in waiting]
        with self._lock:
            if self._workers is None:
                self._workers = ThreadPoolExecutor(
                    WORKERS, thread_name_prefix="owctl-engine", initializer=self._mark_worker
                )
            workers = self._workers
        futures = [workers.submit(function, item) for item in waiting]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """Close every thread's client and end the worker threads."""
        with self._lock:
            workers, self._workers = self._workers, None
            clients = list(self._clients.values())
            self._clients.clear()
            self._local = threading.local()
        if workers is not None:
            workers.shutdown(wait=False, cancel_futures=True)
        for client in clients:
            client.close()
        if self.endpoint.tunnel is not None:
            self.endpoint.tunnel.close()

    def release(self) -> None:
        """Close the calling thread's client; for a thread that ends, or will not ask for long."""
        self._local.client = None
        with self._lock:
            client = self._clients.pop(threading.current_thread(), None)
        if client is not None:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _mark_worker(self) -> None:
        self._local.is_worker = True

    def _forget_finished_threads(self) -> None:
        for thread in [thread for thread in self._clients if not thread.is_alive()]:
            self._clients.pop(thread).close()

    def _port_holder(self, port: int, protocol: str) -> str | None:
        from owctl.engine.ports import describe_holder

        return describe_holder(self.api, port, protocol, is_local=self.endpoint.is_local)


def open_client(endpoint: Endpoint, api_version: str, timeout_seconds: int) -> "APIClient":
    """Return a docker-py client for ``endpoint``; nothing is sent yet.

    Raises what docker-py raises; the caller translates.
    """
    import_docker()
    import docker
    import requests.utils
    from docker.tls import TLSConfig

    tls: TLSConfig | bool = False
    if endpoint.tls is not None:
        files = endpoint.tls
        pair = (str(files.certificate), str(files.key)) if files.certificate and files.key else None
        authority = str(files.authority) if files.authority else None
        tls = TLSConfig(client_cert=pair, ca_cert=authority, verify=files.verify)
    path = endpoint.local_socket()
    client = docker.APIClient(
        base_url=f"unix://{path}" if path else endpoint.host,
        version=api_version,
        timeout=timeout_seconds,
        tls=tls,
    )
    # requests would put REQUESTS_CA_BUNDLE above the engine's own authority, and look into .netrc.
    client.trust_env = False
    if path is None and not _is_this_machine(endpoint.host):
        client.proxies.update(requests.utils.get_environ_proxies(client.base_url))
    return client


def _is_this_machine(host: str) -> bool:
    # No proxy leads to it; the docker command makes the same exception.
    return is_loopback(urlsplit(host).hostname or "")


def _with_tunnel(endpoint: Endpoint) -> Endpoint:
    if not endpoint.host.startswith("ssh://"):
        return endpoint
    from owctl.engine.endpoint import parse_ssh_address
    from owctl.engine.ssh_tunnel import SshTunnel

    address = parse_ssh_address(endpoint.host, endpoint.chosen_by)
    return replace(endpoint, tunnel=SshTunnel(address, endpoint.chosen_by))


def _ask_version(endpoint: Endpoint) -> dict[str, Any]:
    """Return the engine's ``/version``; raises EngineUnavailable."""
    try:
        server = _version_while_importing(endpoint)
        if server is None:
            server = _version_by_docker(endpoint)
    except Exception as error:
        translated = translate_error(error, "reach the Docker engine", endpoint)
        if translated is None:
            raise
        raise translated from error
    if not isinstance(server, dict) or "ApiVersion" not in server:
        raise EngineUnavailable(
            f"Cannot reach the Docker engine: what answers at {endpoint.host} is not one",
            hint=f"the address comes from {endpoint.chosen_by}: correct it",
        )
    return server


def _version_while_importing(endpoint: Endpoint) -> Any:  # noqa: ANN401  # as it came
    """Return the ``/version`` of an engine behind a socket, None for TCP or a strange answer.

    It asks its runtimes for their versions, too, and meanwhile there is docker to import.
    """
    path = endpoint.local_socket()
    if path is None:
        return None
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(CONNECT_TIMEOUT_SECONDS)
        asked.connect(str(path))
        asked.sendall(_VERSION_REQUEST)
        import_docker()
        with http.client.HTTPResponse(asked, method="GET") as response:
            response.begin()
            answer = response.read()
    try:
        return json.loads(answer) if response.status == http.HTTPStatus.OK else None
    except ValueError:
        return None


def _version_by_docker(endpoint: Endpoint) -> Any:  # noqa: ANN401  # as it came
    client = open_client(endpoint, MINIMUM_API_VERSION, CONNECT_TIMEOUT_SECONDS)
    try:
        return client.version(api_version=False)
    finally:
        client.close()
