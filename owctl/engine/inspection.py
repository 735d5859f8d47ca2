"""What ``inspect`` says of a container, as a value that the other rooms can use."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from owctl.engine.drift_forms import mount_table
from owctl.engine.naming import (
    CONFIG_FILES,
    CONFIG_HASH,
    NUMBER,
    PROJECT,
    SERVICE,
    SPEC_HASH,
    WORKING_DIR,
)
from owctl.engine.volumes import is_unnamed

_NEVER = "0001-01-01T00:00:00Z"
_WITH_OFFSET = re.compile(
    r"(?P<second>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?P<fraction>\.\d+)?(?P<offset>[+-]\d\d:\d\d)"
)


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A container port as it is reachable on the host now."""

    host_ip: str
    host_port: int
    container_port: int
    protocol: str


@dataclass(frozen=True, slots=True)
class ContainerMount:
    """Something mounted in a container; ``name`` is a volume's ("" for a bind or tmpfs)."""

    type: str
    name: str
    source: str
    destination: str
    read_write: bool


@dataclass(frozen=True, slots=True)
class Container:
    """A container as ``inspect`` shows it.

    ``state`` is created, running, paused, restarting, exited, dead or removing; ``exit_code`` is
    None while it has not ended. Times are the engine's RFC 3339 texts, None for never.
    ``networks`` maps a network's name to the container's address there ("" when it has none).
    """

    id: str
    name: str
    service: str
    project: str
    number: int
    state: str
    engine_health: str | None
    exit_code: int | None
    oom_killed: bool
    error: str
    started_at: str | None
    finished_at: str | None
    restart_count: int
    restart_policy: str
    image: str
    image_id: str
    ports: tuple[PublishedPort, ...]
    networks: Mapping[str, str]
    mounts: tuple[ContainerMount, ...]
    labels: Mapping[str, str] = field(repr=False)
    tty: bool
    environment: Mapping[str, str] = field(repr=False)
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def working_dir(self) -> str | None:
        """The folder of the compose files that it was made from."""
        return self.labels.get(WORKING_DIR)

    @property
    def config_files(self) -> tuple[str, ...]:
        """The compose files that it was made from."""
        return tuple(path for path in self.labels.get(CONFIG_FILES, "").split(",") if path)

    @property
    def config_hash(self) -> str | None:
        """Compose's hash of the service that it was made from."""
        return self.labels.get(CONFIG_HASH)

    @property
    def spec_hash(self) -> str | None:
        """owctl's hash of the create body, None when owctl did not make it."""
        return self.labels.get(SPEC_HASH)

    @property
    def unnamed_volumes(self) -> dict[str, str]:
        """The volumes without a name that it has, by where: nothing but it knows whose they are."""
        return {
            each.destination: each.name
            for each in self.mounts
            if each.type == "volume" and is_unnamed(each.name)
        }

    @property
    def own_data_folder(self) -> str | None:
        """PostgreSQL's data folder where it is in no volume: then the data goes with the container."""
        folder = self.environment.get("PGDATA")
        mounted = {mount.destination for mount in self.mounts}
        mounted |= mount_table(self.raw.get("HostConfig") or {}).keys()
        if not folder or any(PurePosixPath(folder).is_relative_to(each) for each in mounted):
            return None
        return folder

    @property
    def is_running(self) -> bool:
        """Whether its process runs (a paused one does not)."""
        return self.state == "running"


def container_from_inspect(raw: Mapping[str, Any]) -> Container:
    """Return the container that ``raw``, the answer of ``inspect``, describes."""
    state, config, host = raw["State"], raw["Config"], raw.get("HostConfig") or {}
    labels: dict[str, str] = config.get("Labels") or {}
    networks = (raw.get("NetworkSettings") or {}).get("Networks") or {}
    number = labels.get(NUMBER, "")
    status = str(state.get("Status") or "")
    health = (state.get("Health") or {}).get("Status")
    return Container(
        id=raw["Id"],
        name=str(raw["Name"]).lstrip("/"),
        service=labels.get(SERVICE, ""),
        project=labels.get(PROJECT, ""),
        number=int(number) if number.isdigit() else 1,
        state=status,
        engine_health=health if health and health != "none" else None,
        exit_code=state.get("ExitCode") if status in {"exited", "dead", "restarting"} else None,
        oom_killed=bool(state.get("OOMKilled")),
        error=str(state.get("Error") or ""),
        started_at=_time(state.get("StartedAt")),
        finished_at=_time(state.get("FinishedAt")),
        restart_count=int(raw.get("RestartCount") or 0),
        restart_policy=str((host.get("RestartPolicy") or {}).get("Name") or "no"),
        image=str(config.get("Image") or ""),
        image_id=str(raw.get("Image") or ""),
        ports=_published_ports(raw),
        networks={
            name: str((item or {}).get("IPAddress") or "") for name, item in networks.items()
        },
        mounts=tuple(_mount(item) for item in raw.get("Mounts") or []),
        labels=labels,
        tty=bool(config.get("Tty")),
        environment=dict(line.split("=", 1) for line in config.get("Env") or [] if "=" in line),
        raw=raw,
    )


def health_log(container: Container, last: int = 3) -> list[str]:
    """Return the output lines of the engine's ``last`` health checks, oldest first."""
    entries = ((container.raw["State"].get("Health") or {}).get("Log") or [])[-last:]
    return [
        line
        for entry in entries
        for line in str(entry.get("Output") or "").splitlines()
        if line.strip()
    ]


def _published_ports(raw: Mapping[str, Any]) -> tuple[PublishedPort, ...]:
    ports = (raw.get("NetworkSettings") or {}).get("Ports") or {}
    found = []
    for target, bindings in ports.items():
        number, _, protocol = target.partition("/")
        found += [
            PublishedPort(
                str(binding.get("HostIp") or ""), int(binding["HostPort"]), int(number), protocol
            )
            for binding in bindings or []
        ]
    return tuple(sorted(found, key=lambda port: (port.container_port, port.host_ip)))


def _mount(item: Mapping[str, Any]) -> ContainerMount:
    return ContainerMount(
        type=str(item.get("Type") or ""),
        name=str(item.get("Name") or ""),
        source=str(item.get("Source") or ""),
        destination=str(item.get("Destination") or ""),
        read_write=bool(item.get("RW")),
    )


def _time(text: object) -> str | None:
    if not text or text == _NEVER:
        return None
    # Docker says UTC; other engines say the machine's own time with its offset.
    found = _WITH_OFFSET.fullmatch(str(text))
    if found is None:
        return str(text)
    moment = datetime.fromisoformat(found["second"] + found["offset"]).astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}{found['fraction'] or ''}Z"
