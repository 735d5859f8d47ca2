"""Servers for a while, out of everybody's reach: an empty one, and one on files of the stack's own."""

import io
import secrets
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from owctl.compose.model import Service, Stack
from owctl.engine.archives import write_archive, write_files
from owctl.engine.connection import Engine
from owctl.engine.containers import (
    create_container,
    inspect_container,
    remove_container,
    start_container,
    stop_container,
)
from owctl.engine.create_config import container_config
from owctl.engine.execution import open_exec
from owctl.engine.images import Image
from owctl.engine.naming import ONEOFF, PROJECT, SERVICE
from owctl.errors import EngineError, OwctlError, TimedOut
from owctl.observe.evidence import how_it_ended, last_words
from owctl.postgres.place import server_in
from owctl.postgres.psql import Server
from owctl.volumes.one_off import HELPER_LABEL, IDLE

# What a killed owctl left of them is found by its label, and removed by ``remove_helpers``.
PURPOSE: Final = "upgrade"
DRILL: Final = "drill"
Role = Literal["old", "new"]
_DRILL_SECONDS = 120.0
_POLL_SECONDS = 0.1
_STOP_SECONDS = 600
_SHARED_MEMORY_BYTES = 256 * 1024 * 1024
# Its input ends with owctl, however that ends: two servers on the same files would destroy them.
_GUARD = ["sh", "-c", "cat >/dev/null; kill -INT 1"]
_INIT_SCRIPTS = "/docker-entrypoint-initdb.d"
# Nobody else can reach the server, so nobody is asked for a password.
_HBA = "owctl-pg_hba.conf"
_HBA_TEXT = b"local all all trust\nhost all all 127.0.0.1/32 trust\n"
_ALONE = (
    f"hba_file=/etc/{_HBA}",
    "listen_addresses=127.0.0.1",
    "port=5432",
    "ssl=off",
    "archive_mode=off",
)
# Data that nobody wants to keep, or that is made again, need not be safe from a power failure.
_HURRY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")


@dataclass(frozen=True, slots=True)
class _Sayings:
    """What is said of a server that does not come up: of what it is, how it ended, how late it is."""

    name: str
    ended: str
    ended_hint: str
    late: str
    late_hint: str


# -- An empty server, for a drill.


_OF_THE_DRILL = _Sayings(
    "The PostgreSQL of the drill",
    "The PostgreSQL of the drill",
    "docker run the image by hand, to see whether it works at all",
    "did not answer within",
    "the same command when the machine is less busy",
)


@contextmanager
def empty_server(engine: Engine, project: str, image: Image, *, user: str) -> Iterator[Server]:
    """Yield a new, empty PostgreSQL that answers; its container and volume go with the block.

    It has no network. Raises OwctlError with its last words if it ends, TimedOut if it does not
    answer within two minutes.
    """
    body: dict[str, Any] = {
        "Image": image.id,
        "Env": [
            f"POSTGRES_USER={user}",
            f"POSTGRES_PASSWORD={secrets.token_urlsafe(24)}",
            "POSTGRES_DB=postgres",
        ],
        "Labels": {PROJECT: project, ONEOFF: "True", HELPER_LABEL: DRILL},
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {"NetworkMode": "none", "ShmSize": _SHARED_MEMORY_BYTES},
    }
    if (image.raw.get("Config") or {}).get("Cmd") == ["postgres"]:
        body["Cmd"] = ["postgres", *_options(_HURRY)]
    name = f"{project}-owctl-drill-{secrets.token_hex(3)}"
    with _container(engine, name, body) as container_id:
        start_container(engine, container_id, name)
        yield _answering(engine, container_id, _OF_THE_DRILL, _DRILL_SECONDS)


# -- Servers on a volume, for an upgrade: like the service's own.


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a server is made of: ``volume`` is mounted where the service has ``instead_of``.

    ``settings`` are given on its command line, ``initdb_arguments`` to initdb.
    """

    role: Role
    image_id: str
    volume: str
    instead_of: str
    settings: tuple[str, ...] = ()
    initdb_arguments: str = ""


@contextmanager
def cluster_server(
    engine: Engine,
    stack: Stack,
    service: Service,
    cluster: Cluster,
    *,
    timeout_seconds: float,
) -> Iterator[Server]:
    """Yield a server that answers, set up as the service's own but for network and passwords.

    It is stopped in order and removed when the block ends, and stops by itself when owctl is killed;
    its volume stays. Raises OwctlError with its last words if it ends, TimedOut if it does not answer.
    """
    name = f"{stack.project}-owctl-upgrade-{cluster.role}"
    sayings = _Sayings(
        f"The {cluster.role} PostgreSQL",
        f"The {cluster.role} PostgreSQL ({cluster.image_id})",
        "its last words say why; docs/upgrade-postgres.md",
        "does not answer after",
        "the same command with a longer --timeout",
    )
    with _container(engine, name, _body(engine, stack, service, cluster)) as container_id:
        write_files(engine, container_id, service)
        write_archive(engine, container_id, "/etc", _tar(_HBA, _HBA_TEXT))
        start_container(engine, container_id, name)
        with open_exec(engine, container_id, _GUARD, user="0:0", stdin=True):
            server = _answering(engine, container_id, sayings, timeout_seconds)
            try:
                yield server
            except BaseException:
                # The new one is thrown away; the old one is what everybody goes back to.
                if cluster.role == "old":
                    with suppress(OwctlError):
                        stop_container(engine, container_id, _STOP_SECONDS)
                raise
            stop_container(engine, container_id, _STOP_SECONDS)


@contextmanager
def dumper(engine: Engine, project: str, image_id: str, old: Server) -> Iterator[Server]:
    """Yield the old server as the programs of another image see it: the new one's pg_dump reads it.

    PostgreSQL recommends the newer pg_dump; it reaches the old server through its own loopback.
    """
    body = {
        "Image": image_id,
        "Entrypoint": IDLE,
        "Cmd": [],
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": {PROJECT: project, ONEOFF: "True", HELPER_LABEL: PURPOSE},
        "HostConfig": {"NetworkMode": f"container:{old.container.id}"},
    }
    with _container(engine, f"{project}-owctl-upgrade-dump", body) as container_id:
        start_container(engine, container_id, "the new PostgreSQL's pg_dump")
        container = inspect_container(engine, container_id)
        if container is None:
            raise OwctlError("The helper for pg_dump is gone.", hint="the same command again")
        yield Server(engine, container, old.environment)


def _body(engine: Engine, stack: Stack, service: Service, cluster: Cluster) -> dict[str, Any]:
    body = container_config(
        stack, service, number=1, image_id=cluster.image_id, api_version=engine.api_version
    )
    body["Image"] = cluster.image_id
    settings = (*cluster.settings, *_ALONE, *(_HURRY if cluster.role == "new" else ()))
    body["Cmd"] = [*_command(service), *_options(settings)]
    body["Healthcheck"] = {"Test": ["NONE"]}
    labels = {PROJECT: stack.project, SERVICE: service.name, ONEOFF: "True"}
    body["Labels"] = {**labels, HELPER_LABEL: PURPOSE}
    if cluster.initdb_arguments:
        given = service.environment.get("POSTGRES_INITDB_ARGS") or ""
        arguments = f"POSTGRES_INITDB_ARGS={given} {cluster.initdb_arguments}"
        others = [line for line in body["Env"] if not line.startswith("POSTGRES_INITDB_ARGS=")]
        body["Env"] = [*others, arguments]
    for name in ("ExposedPorts", "NetworkingConfig", "MacAddress", "Hostname"):
        body.pop(name, None)
    body["HostConfig"] = _host(body["HostConfig"], cluster)
    return body


def _host(given: Mapping[str, Any], cluster: Cluster) -> dict[str, Any]:
    host = {
        key: value
        for key, value in given.items()
        if key not in ("PortBindings", "RestartPolicy", "ExtraHosts", "Dns")
    }
    mounts = [
        {**mount, "Source": cluster.volume} if mount.get("Source") == cluster.instead_of else mount
        for mount in host.get("Mounts", [])
        if not mount["Target"].startswith(_INIT_SCRIPTS)
    ]
    binds = [b for b in host.get("Binds", []) if f":{_INIT_SCRIPTS}" not in b]
    return {**host, "Mounts": mounts, "Binds": binds, "NetworkMode": "none", "Init": True}


def _command(service: Service) -> Sequence[str]:
    """Return what the entrypoint is given: the service's own settings are the database's, too."""
    command = service.command or ()
    if command and (command[0] == "postgres" or command[0].startswith("-")):
        return command
    return ("postgres",)


def _tar(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(data), 0o644
        archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


# -- What they have in common: made, waited for, removed.


def _options(settings: Sequence[str]) -> list[str]:
    return [word for setting in settings for word in ("-c", setting)]


@contextmanager
def _container(engine: Engine, name: str, body: Mapping[str, Any]) -> Iterator[str]:
    """Make a container and yield its id; it goes with the block, and its own volumes with it."""
    # The engine goes on making it when owctl is interrupted meanwhile, so its answer is waited for:
    # only then can the container be removed.
    with ThreadPoolExecutor(1, thread_name_prefix="owctl-create") as pool:
        answer = pool.submit(create_container, engine, name, body)
        try:
            container_id = answer.result()
        except BaseException:
            if answer.exception() is None:
                remove_container(engine, answer.result(), force=True, volumes=True)
            raise
    try:
        yield container_id
    finally:
        remove_container(engine, container_id, force=True, volumes=True)


def _answering(
    engine: Engine, container_id: str, sayings: _Sayings, timeout_seconds: float
) -> Server:
    deadline = time.monotonic() + timeout_seconds
    while True:
        container = inspect_container(engine, container_id)
        if container is None:
            raise OwctlError(
                f"{sayings.name} was removed while it started.", hint="the same command again"
            )
        if not container.is_running:
            raise OwctlError(
                f"{sayings.ended} {how_it_ended(container)}.",
                hint=sayings.ended_hint,
                details=last_words(engine, container),
            )
        # Where it ends just now, the next look says so.
        with suppress(EngineError, TimedOut):
            # While it initialises itself, it does not listen on TCP: so this asks the final one.
            server = server_in(engine, container).with_variables(PGHOST="127.0.0.1")
            if server.run("SELECT 1;", timeout_seconds=30).exit_code == 0:
                return server
        if time.monotonic() > deadline:
            raise TimedOut(
                f"{sayings.name} {sayings.late} {timeout_seconds:.0f} s.",
                hint=sayings.late_hint,
                details=last_words(engine, container),
            )
        time.sleep(_POLL_SECONDS)
