"""The resolved stack: what the compose files say after interpolation and merging.

Everything here is frozen and free of variables. Paths are absolute, durations are seconds, sizes
are bytes, list and map forms have become one form.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

ProbeType = Literal["postgres", "redis", "http", "socketio", "none"]
DependencyCondition = Literal[
    "service_started", "service_healthy", "service_completed_successfully"
]


@dataclass(frozen=True, slots=True)
class Port:
    """A container port, published on the host unless ``published`` is None.

    ``published`` is a host port ("3000"), a range ("3000-3005"), or "" for one the engine chooses.
    """

    target: int
    published: str | None = None
    host_ip: str | None = None
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True)
class Mount:
    """A file tree in a container.

    ``source`` is the key of a top-level volume, an absolute host path, or None (anonymous, tmpfs).
    ``selinux`` is "z" (shared label), "Z" (private) or None. ``tmpfs_options`` are those of the
    short ``tmpfs:`` form, such as "size=64m,mode=1777"; None for mounts under ``volumes:``.
    """

    type: Literal["volume", "bind", "tmpfs"]
    target: str
    source: str | None = None
    read_only: bool = False
    no_copy: bool = False
    create_host_path: bool = True
    propagation: str | None = None
    selinux: str | None = None
    tmpfs_options: str | None = None
    tmpfs_size_bytes: int | None = None
    tmpfs_mode: int | None = None


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A secret or config whose content is written into the container before it starts."""

    target: str
    content: str = field(repr=False)
    mode: int = 0o444
    uid: int = 0
    gid: int = 0
    is_secret: bool = True


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """The engine's own check. ``test`` is ("CMD", …), ("CMD-SHELL", text) or ("NONE",).

    ``test`` None keeps the image's. Durations are seconds; None keeps the engine's default.
    """

    test: tuple[str, ...] | None = None
    interval_seconds: float | None = None
    timeout_seconds: float | None = None
    start_period_seconds: float | None = None
    start_interval_seconds: float | None = None
    retries: int | None = None

    @property
    def disabled(self) -> bool:
        """Whether the check is switched off."""
        return self.test is not None and self.test[:1] == ("NONE",)


@dataclass(frozen=True, slots=True)
class Dependency:
    """An edge of the start order: this service must have reached ``condition`` first."""

    service: str
    condition: DependencyCondition = "service_started"
    restart: bool = False
    required: bool = True


@dataclass(frozen=True, slots=True)
class Build:
    """How an image is built. ``context`` is an absolute path; ``dockerfile`` is relative to it."""

    context: Path
    dockerfile: str = "Dockerfile"
    args: Mapping[str, str | None] = field(default_factory=dict)
    target: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    cache_from: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    network: str | None = None


@dataclass(frozen=True, slots=True)
class Logging:
    """The engine's log driver and its options."""

    driver: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ulimit:
    """A resource limit of the container's processes."""

    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class Attachment:
    """How a service joins a network (``network`` is the key of a top-level network)."""

    network: str
    aliases: tuple[str, ...] = ()
    ipv4_address: str | None = None
    ipv6_address: str | None = None
    mac_address: str | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Resources:
    """Limits and reservations; memory in bytes, processors as a number of cores."""

    memory_limit_bytes: int | None = None
    memory_reservation_bytes: int | None = None
    cpus: float | None = None
    pids_limit: int | None = None
    devices: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """What ``x-owctl: {probe: …}`` asks for."""

    type: ProbeType
    port: int | None = None
    path: str | None = None


# Keys of a service that go to the engine as they are, and what it calls them in its HostConfig.
ENGINE_OPTIONS: Mapping[str, str] = {
    "cgroup": "CgroupnsMode",
    "cgroup_parent": "CgroupParent",
    "cpu_period": "CpuPeriod",
    "cpu_quota": "CpuQuota",
    "cpu_shares": "CpuShares",
    "cpuset": "CpusetCpus",
    "dns_opt": "DnsOptions",
    "dns_search": "DnsSearch",
    "ipc": "IpcMode",
    "mem_swappiness": "MemorySwappiness",
    "memswap_limit": "MemorySwap",
    "oom_kill_disable": "OomKillDisable",
    "oom_score_adj": "OomScoreAdj",
    "pid": "PidMode",
    "runtime": "Runtime",
    "storage_opt": "StorageOpt",
    "sysctls": "Sysctls",
    "userns_mode": "UsernsMode",
    "uts": "UTSMode",
}


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the stack, resolved.

    ``environment`` values of None are variables that the container shall not have.
    ``mounts`` includes secrets and configs that are files of the host; ``files`` are the others.
    ``command`` and ``entrypoint``: None keeps the image's, () clears it.
    ``held_image`` is no key of the files: the image that owctl keeps the service at after it went
    back to it, whatever ``image`` names.
    ``spec`` is the normalised compose mapping, as ``docker compose config`` would print it:
    the ground for ``owctl config`` and for compose's config hash.
    """

    name: str
    image: str | None = None
    build: Build | None = None
    container_name: str | None = None
    hostname: str | None = None
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    ports: tuple[Port, ...] = ()
    expose: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    files: tuple[WrittenFile, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    network_mode: str | None = None
    depends_on: tuple[Dependency, ...] = ()
    healthcheck: HealthCheck | None = None
    restart: str = "no"
    labels: Mapping[str, str] = field(default_factory=dict)
    extra_hosts: tuple[str, ...] = ()
    user: str | None = None
    working_dir: str | None = None
    init: bool | None = None
    tty: bool = False
    stdin_open: bool = False
    privileged: bool = False
    read_only: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    group_add: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    ulimits: Mapping[str, Ulimit] = field(default_factory=dict)
    shm_size_bytes: int | None = None
    stop_signal: str | None = None
    stop_grace_period_seconds: float | None = None
    logging: Logging | None = None
    resources: Resources = Resources()
    platform: str | None = None
    pull_policy: str | None = None
    scale: int = 1
    probe: Probe | None = None
    held_image: str | None = None
    spec: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def image_name(self, project: str) -> str:
        """Return the reference of the image that containers are made from."""
        return self.held_image or self.declared_image(project)

    def declared_image(self, project: str) -> str:
        """Return the files' reference; a built one without a name is ``<project>-<service>``."""
        return self.image or f"{project}-{self.name}"


@dataclass(frozen=True, slots=True)
class Network:
    """A top-level network; ``name`` is the engine's name, ``key`` the files'."""

    key: str
    name: str
    driver: str | None = None
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    external: bool = False
    internal: bool = False
    attachable: bool = False
    enable_ipv6: bool | None = None
    ipam: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Volume:
    """A top-level volume; ``name`` is the engine's name, ``key`` the files'."""

    key: str
    name: str
    driver: str | None = None
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    external: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stack:
    """Everything the compose files of one project describe.

    ``services`` holds the services whose profiles are active, in file order, ``volumes`` what they
    mount; ``inactive_services`` and ``inactive_volumes`` are the others. ``warnings`` are for the user (an unset variable, an obsolete
    key). ``named_files`` are those that ``env_file``, secrets and configs name. ``spec`` is the
    merged, interpolated document.
    """

    project: str
    working_dir: Path
    config_files: tuple[Path, ...]
    environment_files: tuple[Path, ...]
    services: Mapping[str, Service]
    networks: Mapping[str, Network]
    volumes: Mapping[str, Volume]
    warnings: tuple[str, ...] = ()
    named_files: tuple[Path, ...] = ()
    inactive_services: Mapping[str, Service] = field(default_factory=dict)
    inactive_volumes: Mapping[str, Volume] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def with_inactive(self) -> "Stack":
        """Return the stack as it is with every profile active: the services of others come last."""
        if not self.inactive_services:
            return self
        return replace(
            self,
            services={**self.services, **self.inactive_services},
            volumes={**self.volumes, **self.inactive_volumes},
            inactive_services={},
            inactive_volumes={},
        )

    def depends(self, dependant: str, dependency: str) -> bool:
        """Return whether a service names another in its ``depends_on``."""
        service = self.services.get(dependant)
        return service is not None and any(e.service == dependency for e in service.depends_on)

    def is_one_shot(self, name: str) -> bool:
        """Return whether a service is to do its work and end, as somebody waits for that."""
        return any(
            edge.service == name and edge.condition == "service_completed_successfully"
            for other in self.services.values()
            for edge in other.depends_on
        )
