"""Turns the checked spec of a service, network or volume into the model. Nothing here can fail."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from owctl.compose.document import duration_seconds
from owctl.compose.model import (
    Attachment,
    Build,
    Dependency,
    HealthCheck,
    Logging,
    Mount,
    Network,
    Port,
    Probe,
    Resources,
    Service,
    Ulimit,
    Volume,
    WrittenFile,
)
from owctl.compose.top_level_rules import SECTIONS, target_of

Spec = Mapping[str, Any]

_LISTS = ("expose", "extra_hosts", "cap_add", "cap_drop", "security_opt", "group_add", "dns")
_PLAIN = (
    "image", "container_name", "hostname", "network_mode", "user", "working_dir", "init",
    "tty", "stdin_open", "privileged", "read_only", "stop_signal", "platform", "pull_policy",
)  # fmt: skip


def service(
    name: str,
    spec: Spec,
    active: Collection[str],
    probe: Probe | None,
    files: Mapping[str, Spec],
    variables: Mapping[str, str],
) -> Service:
    """Return the service that ``spec`` describes.

    Dependencies on others than ``active`` are left out. ``files`` holds the specs of the files' "secrets" and "configs", ``variables`` their values.
    """
    fields: dict[str, Any] = {key: spec[key] for key in _PLAIN if key in spec}
    fields |= {key: tuple(spec[key]) for key in _LISTS if key in spec}
    for key in ("command", "entrypoint"):
        fields[key] = None if spec[key] is None else tuple(spec[key])
    grace = spec.get("stop_grace_period")
    return Service(
        name=name,
        build=_build(spec["build"]) if "build" in spec else None,
        environment=spec.get("environment", {}),
        labels=spec.get("labels", {}),
        # Two modes of the same port are one on an engine.
        ports=tuple(dict.fromkeys(_port(port) for port in spec.get("ports", ()))),
        mounts=(*_mounts(spec), *_file_mounts(spec, files)),
        files=tuple(_written(spec, files, variables)),
        attachments=tuple(_attachment(*item) for item in spec.get("networks", {}).items()),
        depends_on=tuple(
            Dependency(key, value["condition"], value.get("restart", False), value["required"])
            for key, value in spec.get("depends_on", {}).items()
            if key in active
        ),
        healthcheck=_healthcheck(spec["healthcheck"]) if "healthcheck" in spec else None,
        restart=_restart(spec),
        devices=tuple(":".join(device.values()) for device in spec.get("devices", ())),
        ulimits={key: _ulimit(value) for key, value in spec.get("ulimits", {}).items()},
        shm_size_bytes=_optional_integer(spec.get("shm_size")),
        stop_grace_period_seconds=None if grace is None else duration_seconds(grace),
        logging=_logging(spec["logging"]) if "logging" in spec else None,
        resources=_resources(spec),
        scale=_scale(spec),
        probe=probe,
        spec=spec,
        **fields,
    )


def network(key: str, spec: Spec) -> Network:
    """Return the network that ``spec`` describes."""
    return Network(
        key=key,
        name=spec["name"],
        driver=spec.get("driver"),
        driver_opts=spec.get("driver_opts", {}),
        external=spec.get("external", False),
        internal=spec.get("internal", False),
        attachable=spec.get("attachable", False),
        enable_ipv6=spec.get("enable_ipv6"),
        ipam=spec.get("ipam", {}),
        labels=spec.get("labels", {}),
    )


def volume(key: str, spec: Spec) -> Volume:
    """Return the volume that ``spec`` describes."""
    return Volume(
        key=key,
        name=spec["name"],
        driver=spec.get("driver"),
        driver_opts=spec.get("driver_opts", {}),
        external=spec.get("external", False),
        labels=spec.get("labels", {}),
    )


def _build(spec: Spec) -> Build:
    return Build(
        context=Path(spec["context"]),
        dockerfile=spec["dockerfile"],
        args=spec.get("args", {}),
        target=spec.get("target"),
        labels=spec.get("labels", {}),
        cache_from=tuple(spec.get("cache_from", ())),
        extra_hosts=tuple(spec.get("extra_hosts", ())),
        platforms=tuple(dict.fromkeys(spec.get("platforms", ()))),
        network=spec.get("network"),
    )


def _port(spec: Spec) -> Port:
    # Without a host port the engine chooses one.
    published = spec.get("published", "")
    return Port(spec["target"], published, spec.get("host_ip"), spec["protocol"])


def _mounts(spec: Spec) -> tuple[Mount, ...]:
    mounts = [_mount(mount) for mount in spec.get("volumes", ())]
    for entry in spec.get("tmpfs", ()):
        target, _, options = entry.partition(":")
        mounts.append(Mount("tmpfs", target, tmpfs_options=options))
    return tuple(mounts)


def _granted(spec: Spec, files: Mapping[str, Spec]) -> Iterator[tuple[str, str, Spec, Spec]]:
    """Yield section, target, grant and definition of each secret and config.

    A service of an inactive profile may name what no file defines.
    """
    for section in SECTIONS:
        for grant in spec.get(section, ()):
            if grant["source"] in files[section]:
                yield section, target_of(section, grant), grant, files[section][grant["source"]]


def _file_mounts(spec: Spec, files: Mapping[str, Spec]) -> Iterator[Mount]:
    for _, target, _, defined in _granted(spec, files):
        if "file" in defined:
            source = defined["file"]
            yield Mount("bind", target, source, read_only=True, create_host_path=False)


def _written(
    spec: Spec, files: Mapping[str, Spec], variables: Mapping[str, str]
) -> Iterator[WrittenFile]:
    for section, target, grant, defined in _granted(spec, files):
        if "file" in defined:
            continue
        variable = defined.get("environment")
        yield WrittenFile(
            target=target,
            content=variables.get(variable, "") if variable else defined.get("content", ""),
            mode=grant.get("mode", 0o444),
            uid=int(grant.get("uid", 0)),
            gid=int(grant.get("gid", 0)),
            is_secret=section == "secrets",
        )


def _mount(spec: Spec) -> Mount:
    bind, tmpfs = spec.get("bind", {}), spec.get("tmpfs", {})
    return Mount(
        type=spec["type"],
        target=spec["target"],
        source=spec.get("source"),
        read_only=spec.get("read_only", False),
        no_copy=spec.get("volume", {}).get("nocopy", False),
        create_host_path=bind.get("create_host_path", False),
        propagation=bind.get("propagation"),
        selinux=bind.get("selinux"),
        tmpfs_size_bytes=_optional_integer(tmpfs.get("size")),
        tmpfs_mode=tmpfs.get("mode"),
    )


def _attachment(key: str, spec: Spec | None) -> Attachment:
    given = spec or {}
    return Attachment(
        network=key,
        aliases=tuple(given.get("aliases", ())),
        ipv4_address=given.get("ipv4_address"),
        ipv6_address=given.get("ipv6_address"),
        mac_address=given.get("mac_address"),
        priority=given.get("priority", 0),
    )


def _healthcheck(spec: Spec) -> HealthCheck:
    if spec.get("disable"):
        return HealthCheck(test=("NONE",))
    seconds = {
        f"{key}_seconds": duration_seconds(spec[key])
        for key in ("interval", "timeout", "start_period", "start_interval")
        if key in spec
    }
    test = tuple(spec["test"]) if spec.get("test") else None
    return HealthCheck(test=test, retries=spec.get("retries"), **seconds)


def _restart(spec: Spec) -> str:
    if spec.get("restart"):
        return str(spec["restart"])
    policy = spec.get("deploy", {}).get("restart_policy")
    if policy is None:
        return "no"
    condition = policy.get("condition", "any")
    if condition == "on-failure" and policy.get("max_attempts"):
        return f"on-failure:{policy['max_attempts']}"
    return {"none": "no", "any": "always"}.get(condition, str(condition))


def _ulimit(value: int | dict[str, int]) -> Ulimit:
    if isinstance(value, dict):
        return Ulimit(value["soft"], value["hard"])
    return Ulimit(value, value)


def _logging(spec: Spec) -> Logging:
    return Logging(spec.get("driver"), spec.get("options", {}))


def _resources(spec: Spec) -> Resources:
    resources = spec.get("deploy", {}).get("resources", {})
    limits, reservations = resources.get("limits", {}), resources.get("reservations", {})
    memory = spec.get("mem_limit", limits.get("memory"))
    reserved = spec.get("mem_reservation", reservations.get("memory"))
    cpus = spec.get("cpus", limits.get("cpus"))
    return Resources(
        memory_limit_bytes=_optional_integer(memory),
        memory_reservation_bytes=_optional_integer(reserved),
        cpus=None if cpus is None else float(cpus),
        pids_limit=spec.get("pids_limit", limits.get("pids")),
        devices=(*map(_gpu, spec.get("gpus", ())), *reservations.get("devices", ())),
    )


def _gpu(spec: Spec) -> Spec:
    capabilities = spec.get("capabilities", [])
    return {**spec, "capabilities": list(dict.fromkeys([*capabilities, "gpu"]))}


def _scale(spec: Spec) -> int:
    replicas = spec.get("deploy", {}).get("replicas")
    return int(spec.get("scale", 1 if replicas is None else replicas))


def _optional_integer(text: str | None) -> int | None:
    return None if text is None else int(text)
