"""A PostgreSQL for a while: nobody else can reach it, and nothing is left of it."""

import secrets
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from owctl.engine.connection import Engine
from owctl.engine.containers import (
    Container,
    create_container,
    inspect_container,
    remove_container,
    start_container,
)
from owctl.engine.execution import run
from owctl.engine.images import Image
from owctl.engine.naming import ONEOFF, PROJECT
from owctl.errors import EngineError, OwctlError, TimedOut
from owctl.figures import readable
from owctl.observe.evidence import how_it_ended, last_words
from owctl.postgres.psql import Server
from owctl.volumes.space import free_bytes

DRILL_LABEL = "io.owctl.drill"
START_SECONDS = 120.0
_POLL_SECONDS = 0.1
_SHARED_MEMORY_BYTES = 256 * 1024 * 1024
# Data that nobody wants to keep need not reach the disk before the server says so.
_HURRY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")
# Indexes come on top of what a dump holds, compression of long texts goes off; on the careful side.
_ROOM_SHARE = 1.5
_RESERVE_BYTES = 256 * 1024 * 1024


@contextmanager
def throwaway_server(
    engine: Engine, project: str, image: Image, purpose: str, *, user: str
) -> Iterator[Server]:
    """Yield a new, empty PostgreSQL that answers; its container and volume go with the block.

    It has no network. ``purpose`` is the value of its label. Raises OwctlError with its last words
    if it ends, TimedOut if it does not answer within two minutes.
    """
    password = secrets.token_urlsafe(24)
    body = _body(image, project, purpose, {"POSTGRES_USER": user, "POSTGRES_PASSWORD": password})
    name = f"{project}-owctl-drill-{secrets.token_hex(3)}"
    container_id = _create(engine, name, body)
    try:
        start_container(engine, container_id, name)
        # While it initialises itself, the server does not listen on TCP: so this asks the final one.
        environment = {"PGHOST": "127.0.0.1", "PGUSER": user, "PGPASSWORD": password}
        environment |= {"PGDATABASE": "postgres", "PGCLIENTENCODING": "UTF8"}
        container = _wait_until_it_answers(engine, container_id, environment)
        yield Server(engine, container, environment)
    finally:
        remove_container(engine, container_id, force=True, volumes=True)


def remove_throwaways(engine: Engine, project: str) -> int:
    """Remove what a killed drill left of its servers, volumes included; returns how many.

    The caller sees to it that no drill of the project is under way.
    """
    labels = [f"{PROJECT}={project}", DRILL_LABEL]
    with engine.translate("look for left-over containers"):
        found = engine.api.containers(all=True, filters={"label": labels})
    for item in found:
        remove_container(engine, item["Id"], force=True, volumes=True)
    return len(found)


def check_engine_room(engine: Engine, dump_bytes: int) -> None:
    """Raise OwctlError if restoring so large a dump could fill the engine's disk up.

    Only where that disk is this machine's; a full one stops the stack's own PostgreSQL.
    """
    root = Path(str(engine.info.get("DockerRootDir") or "/nowhere"))
    if not engine.endpoint.is_local or not root.is_dir():
        return
    needed, free = int(dump_bytes * _ROOM_SHARE) + _RESERVE_BYTES, free_bytes(root)
    if free < needed:
        raise OwctlError(
            f"There is not enough space for the drill in {root}: {readable(free)} are free, and "
            f"restoring a dump of {readable(dump_bytes)} may take {readable(needed)}.",
            hint="make room there, or drill on another machine",
        )


def _create(engine: Engine, name: str, body: Mapping[str, Any]) -> str:
    """Create the container and return its id.

    The engine goes on making it when owctl is interrupted meanwhile, so its answer is waited for: only
    then can the container be removed.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="owctl-drill") as pool:
        answer = pool.submit(create_container, engine, name, body)
        try:
            return answer.result()
        except BaseException:
            if answer.exception() is None:
                remove_container(engine, answer.result(), force=True, volumes=True)
            raise


def _body(
    image: Image, project: str, purpose: str, environment: Mapping[str, str]
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "Image": image.id,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": {PROJECT: project, ONEOFF: "True", DRILL_LABEL: purpose},
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {"NetworkMode": "none", "ShmSize": _SHARED_MEMORY_BYTES},
    }
    if (image.raw.get("Config") or {}).get("Cmd") == ["postgres"]:
        body["Cmd"] = ["postgres", *(word for setting in _HURRY for word in ("-c", setting))]
    return body


def _wait_until_it_answers(
    engine: Engine, container_id: str, environment: Mapping[str, str]
) -> Container:
    deadline = time.monotonic() + START_SECONDS
    while True:
        container = inspect_container(engine, container_id)
        if container is None:
            raise OwctlError(
                "The PostgreSQL of the drill was removed while it started.",
                hint="the same command again",
            )
        if not container.is_running:
            raise OwctlError(
                f"The PostgreSQL of the drill {how_it_ended(container)}.",
                hint="docker run the image by hand, to see whether it works at all",
                details=last_words(engine, container),
            )
        # Where it ends just now, the next look says so.
        with suppress(EngineError, TimedOut):
            if _answers(engine, container_id, environment):
                return container
        if time.monotonic() > deadline:
            raise TimedOut(
                f"The PostgreSQL of the drill did not answer within {START_SECONDS:.0f} s.",
                hint="the same command when the machine is less busy",
                details=last_words(engine, container),
            )
        time.sleep(_POLL_SECONDS)


def _answers(engine: Engine, container_id: str, environment: Mapping[str, str]) -> bool:
    argv = ["psql", "-X", "-q", "-A", "-t", "-w", "-c", "SELECT 1"]
    answer = run(engine, container_id, argv, environment=environment, timeout_seconds=30)
    return answer.exit_code == 0
