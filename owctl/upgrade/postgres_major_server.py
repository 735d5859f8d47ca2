"""Servers for the while of an upgrade: like the service's own, and out of everybody's reach."""

import io
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from owctl.backup.members.database import connection_environment
from owctl.backup.psql import Server
from owctl.compose.model import Service, Stack
from owctl.engine.archives import write_archive
from owctl.engine.connection import Engine
from owctl.engine.containers import (
    create_container,
    inspect_container,
    remove_container,
    start_container,
    stop_container,
)
from owctl.engine.create_config import container_config
from owctl.engine.execution import run
from owctl.engine.naming import ONEOFF, PROJECT, SERVICE
from owctl.engine.one_off import HELPER_LABEL, IDLE
from owctl.errors import OwctlError, TimedOut
from owctl.observe.evidence import how_it_ended, last_words

PURPOSE = "upgrade"
Role = Literal["old", "new"]
_POLL_SECONDS = 0.1
_STOP_SECONDS = 600
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
# What is lost of a new one by a power failure is made again, from the old one.
_HURRY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a server is made of: its image, and the volume that is mounted as the service's is."""

    role: Role
    image_id: str
    volume: str


@contextmanager
def cluster_server(
    engine: Engine,
    stack: Stack,
    service: Service,
    cluster: Cluster,
    *,
    timeout_seconds: float,
    initdb_arguments: str = "",
) -> Iterator[Server]:
    """Yield a server that answers, set up as the service's own but for network and passwords.

    It is stopped in order when the block ends well, and always removed; its volume stays. Raises
    OwctlError with its last words if it ends, TimedOut if it does not answer.
    """
    name = f"{stack.project}-owctl-upgrade-{cluster.role}"
    body = _body(engine, stack, service, cluster, initdb_arguments)
    container_id = create_container(engine, name, body)
    try:
        write_archive(engine, container_id, "/etc", _tar(_HBA, _HBA_TEXT))
        start_container(engine, container_id, name)
        server = _wait_until_it_answers(engine, container_id, cluster.role, timeout_seconds)
        yield server
        stop_container(engine, container_id, _STOP_SECONDS)
    finally:
        remove_container(engine, container_id, force=True, volumes=True)


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
    container_id = create_container(engine, f"{project}-owctl-upgrade-dump", body)
    try:
        start_container(engine, container_id, "the new PostgreSQL's pg_dump")
        container = inspect_container(engine, container_id)
        if container is None:
            raise OwctlError("The helper for pg_dump is gone.", hint="the same command again")
        yield Server(engine, container, old.environment)
    finally:
        remove_container(engine, container_id, force=True, volumes=True)


def _body(
    engine: Engine, stack: Stack, service: Service, cluster: Cluster, initdb_arguments: str
) -> dict[str, Any]:
    body = container_config(
        stack, service, number=1, image_id=cluster.image_id, api_version=engine.api_version
    )
    body["Image"] = cluster.image_id
    options = (*_ALONE, *(_HURRY if cluster.role == "new" else ()))
    body["Cmd"] = [*_command(service), *(word for each in options for word in ("-c", each))]
    body["Healthcheck"] = {"Test": ["NONE"]}
    labels = {PROJECT: stack.project, SERVICE: service.name, ONEOFF: "True"}
    body["Labels"] = {**labels, HELPER_LABEL: PURPOSE}
    if initdb_arguments:
        given = service.environment.get("POSTGRES_INITDB_ARGS") or ""
        arguments = f"POSTGRES_INITDB_ARGS={given} {initdb_arguments}".rstrip()
        others = [line for line in body["Env"] if not line.startswith("POSTGRES_INITDB_ARGS=")]
        body["Env"] = [*others, arguments]
    for name in ("ExposedPorts", "NetworkingConfig", "MacAddress", "Hostname"):
        body.pop(name, None)
    body["HostConfig"] = _host(stack, service, body["HostConfig"], cluster)
    return body


def _host(
    stack: Stack, service: Service, given: Mapping[str, Any], cluster: Cluster
) -> dict[str, Any]:
    host = {
        key: value
        for key, value in given.items()
        if key not in ("PortBindings", "RestartPolicy", "ExtraHosts", "Dns")
    }
    own = {v.name for m in service.mounts if (v := stack.volumes.get(m.source or "")) is not None}
    mounts = []
    for mount in host.get("Mounts", []):
        if mount["Target"].startswith(_INIT_SCRIPTS):
            continue
        source = cluster.volume if mount.get("Source") in own else mount.get("Source")
        mounts.append({**mount, "Source": source} if source else mount)
    binds = [b for b in host.get("Binds", []) if f":{_INIT_SCRIPTS}" not in b]
    return {**host, "Mounts": mounts, "Binds": binds, "NetworkMode": "none", "Init": True}


def _command(service: Service) -> Sequence[str]:
    """Return what the entrypoint is given: the service's own settings are the database's, too."""
    command = service.command or ()
    if command and (command[0] == "postgres" or command[0].startswith("-")):
        return command
    return ("postgres",)


def _wait_until_it_answers(
    engine: Engine, container_id: str, role: Role, timeout_seconds: float
) -> Server:
    deadline = time.monotonic() + timeout_seconds
    while True:
        container = inspect_container(engine, container_id)
        if container is None:
            raise OwctlError(
                f"The {role} PostgreSQL was removed while it started.",
                hint="the same command again",
            )
        if not container.is_running:
            raise OwctlError(
                f"The {role} PostgreSQL ({container.image}) {how_it_ended(container)}.",
                hint="its last words say why; docs/upgrade-postgres.md",
                details=last_words(engine, container),
            )
        environment = {**connection_environment(engine, container), "PGHOST": "127.0.0.1"}
        # While it initialises itself, the server does not listen on TCP: so this asks the final one.
        answer = run(
            engine, container_id, ["psql", "-X", "-q", "-A", "-t", "-w", "-c", "SELECT 1"],
            environment=environment, timeout_seconds=30,
        )  # fmt: skip
        if answer.exit_code == 0:
            return Server(engine, container, environment)
        if time.monotonic() > deadline:
            raise TimedOut(
                f"The {role} PostgreSQL does not answer after {timeout_seconds:.0f} s.",
                hint="the same command with a longer --timeout",
                details=[
                    *answer.stderr.decode("utf-8", "replace").splitlines()[-2:],
                    *last_words(engine, container),
                ],
            )
        time.sleep(_POLL_SECONDS)


def _tar(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(data), 0o644
        archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
