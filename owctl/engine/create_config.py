"""From a service of the stack to the raw body that creates its container.

The body is the one that compose 2.26 sends for the same files, so that either tool finds the
other's containers unchanged. docker-py's own helpers would drop what they don't know.
"""

from collections.abc import Mapping
from typing import Any

from owctl.compose.model import (
    ENGINE_OPTIONS,
    Attachment,
    HealthCheck,
    Mount,
    Port,
    Resources,
    Service,
    Stack,
)
from owctl.engine.connection import version_key
from owctl.engine.drift_forms import mount_table, plain_path
from owctl.engine.inspection import Container
from owctl.engine.naming import SPEC_HASH, container_labels, container_name, spec_hash

NANOSECONDS = 1_000_000_000
START_INTERVAL_API_VERSION = "1.44"


def container_config(
    stack: Stack,
    service: Service,
    *,
    number: int,
    image_id: str,
    api_version: str,
    proxy_environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the body of POST /containers/create for one container of ``service``.

    ``proxy_environment`` are the proxy variables of the docker command's configuration, which
    the service's own environment overrides. The first network is ``HostConfig.NetworkMode``;
    ``containers.create_container`` joins the others where the engine can't take them at once.
    """
    environment: dict[str, str | None] = {**(proxy_environment or {}), **service.environment}
    body: dict[str, Any] = {
        "Image": service.image_name(stack.project),
        "AttachStdout": True,
        "AttachStderr": True,
        "Env": environment_list(environment),
        "ExposedPorts": _exposed_ports(service),
        "HostConfig": _host_config(stack, service),
    }
    body |= _process(service)
    check = _healthcheck(service.healthcheck, api_version) if service.healthcheck else {}
    if check:  # Podman refuses an empty one
        body["Healthcheck"] = check
    endpoints = _endpoints(stack, service, number)
    if endpoints:
        body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    mac_address = next((each.mac_address for each in service.attachments if each.mac_address), None)
    if mac_address and version_key(api_version) < version_key("1.44"):
        body["MacAddress"] = mac_address
    labels = container_labels(stack, service, number, image_id)
    body["Labels"] = {**labels, SPEC_HASH: spec_hash(body)}
    return body


def with_volumes_of(
    body: Mapping[str, Any], predecessor: Container, image: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the body with the predecessor's volumes where it would get new ones without a name.

    That is where the files or the image (``image``: its configuration) want a volume, and name none;
    as compose does it. The body's hash stays that of the files.
    """
    host = dict(body.get("HostConfig") or {})
    held = {
        plain_path(mount.destination): mount.name
        for mount in predecessor.mounts
        if mount.type == "volume"
    }
    taken = mount_table(host).keys()
    of_image = {plain_path(target) for target in image.get("Volumes") or ()} - taken
    wanted = [
        *(host.get("Mounts") or ()),
        *({"Type": "volume", "Target": t} for t in sorted(of_image)),
    ]
    mounts = []
    for mount in wanted:
        name = held.get(plain_path(mount["Target"]))
        if mount["Type"] != "volume" or mount.get("Source"):
            mounts.append(mount)
        elif name is not None:
            mounts.append({**mount, "Source": name})
        elif plain_path(mount["Target"]) not in of_image:
            mounts.append(mount)
    return {**body, "HostConfig": {**host, "Mounts": mounts} if mounts else host}


def environment_list(environment: Mapping[str, str | None]) -> list[str]:
    """Return the engine's form; a name alone takes the image's variable away."""
    return [
        name if value is None else f"{name}={value}" for name, value in sorted(environment.items())
    ]


def network_order(attachments: tuple[Attachment, ...]) -> list[Attachment]:
    """Return the networks as compose joins them: by priority, then by key."""
    return sorted(attachments, key=lambda each: (-each.priority, each.network))


def _process(service: Service) -> dict[str, Any]:
    """Return the keys of the main process that the service sets; the image decides the others."""
    grace = service.stop_grace_period_seconds
    optional = {
        "Hostname": service.hostname,
        "User": service.user,
        "WorkingDir": service.working_dir,
        "StopSignal": service.stop_signal,
        "StopTimeout": None if grace is None else round(grace),
        "Cmd": None if service.command is None else list(service.command),
        "Entrypoint": None if service.entrypoint is None else list(service.entrypoint),
        "Tty": service.tty or None,
        "OpenStdin": service.stdin_open or None,
    }
    return {key: value for key, value in optional.items() if value is not None}


def _exposed_ports(service: Service) -> dict[str, dict[str, str]]:
    targets = {port if "/" in port else f"{port}/tcp" for port in service.expose}
    targets |= {f"{port.target}/{port.protocol}" for port in service.ports}
    return {target: {} for target in sorted(targets)}


def _healthcheck(check: HealthCheck, api_version: str) -> dict[str, Any]:
    if check.disabled:
        return {"Test": ["NONE"]}
    durations = {
        "Interval": check.interval_seconds,
        "Timeout": check.timeout_seconds,
        "StartPeriod": check.start_period_seconds,
    }
    if version_key(api_version) >= version_key(START_INTERVAL_API_VERSION):
        durations["StartInterval"] = check.start_interval_seconds
    body: dict[str, Any] = {
        key: round(seconds * NANOSECONDS) for key, seconds in durations.items() if seconds
    }
    if check.test is not None:
        body["Test"] = list(check.test)
    if check.retries is not None:
        body["Retries"] = check.retries
    return body


_IN_BYTES = ("mem_swappiness", "memswap_limit")  # text in the spec


def _host_config(stack: Stack, service: Service) -> dict[str, Any]:
    binds = [_bind(stack, mount) for mount in service.mounts if _is_plain_bind(mount)]
    tmpfs = _short_tmpfs(service)
    mounts = [
        _mount(stack, mount)
        for mount in service.mounts
        if not _is_plain_bind(mount) and mount.target not in tmpfs
    ]
    host: dict[str, Any] = {
        "Binds": binds,
        "Mounts": mounts,
        "Tmpfs": tmpfs,
        "NetworkMode": _network_mode(stack, service),
        "PortBindings": _port_bindings(service.ports),
        "RestartPolicy": _restart_policy(service.restart),
        "CapAdd": list(service.cap_add),
        "CapDrop": list(service.cap_drop),
        "SecurityOpt": list(service.security_opt),
        "GroupAdd": list(service.group_add),
        "Dns": list(service.dns),
        "ExtraHosts": [_extra_host(entry) for entry in service.extra_hosts],
        "Devices": [_device(entry) for entry in service.devices],
        "Ulimits": [
            {"Name": name, "Soft": limit.soft, "Hard": limit.hard}
            for name, limit in sorted(service.ulimits.items())
        ],
        "Privileged": service.privileged,
        "ReadonlyRootfs": service.read_only,
        "ShmSize": service.shm_size_bytes,
        "Init": service.init,
        **_resources(service.resources),
        **{
            name: int(service.spec[key]) if key in _IN_BYTES else service.spec[key]
            for key, name in ENGINE_OPTIONS.items()
            if key in service.spec
        },
    }
    if service.logging is not None:
        host["LogConfig"] = {
            "Type": service.logging.driver or "",
            "Config": dict(service.logging.options),
        }
    # What is empty is the engine's default; leaving it out keeps the body short and comparable.
    return {key: value for key, value in host.items() if value not in (None, [], {}, False)}


def _resources(resources: Resources) -> dict[str, Any]:
    return {
        "Memory": resources.memory_limit_bytes,
        "MemoryReservation": resources.memory_reservation_bytes,
        "NanoCpus": None if resources.cpus is None else round(resources.cpus * NANOSECONDS),
        "PidsLimit": resources.pids_limit,
        "DeviceRequests": [_device_request(device) for device in resources.devices],
    }


def _device_request(device: Mapping[str, Any]) -> dict[str, Any]:
    identities = [str(identity) for identity in device.get("device_ids") or []]
    count = device.get("count")
    if count == "all" or (count is None and not identities):
        count = -1
    return {
        "Driver": str(device.get("driver") or ""),
        "Count": int(count or 0),
        "DeviceIDs": identities,
        "Capabilities": [[str(name) for name in device.get("capabilities") or []]],
        "Options": {str(key): str(value) for key, value in (device.get("options") or {}).items()},
    }


def _is_plain_bind(mount: Mount) -> bool:
    # The engine creates a missing host path for Binds only (moby#43483), as compose relies on.
    # It knows the SELinux labels there only, too.
    if mount.type == "volume":
        return bool(mount.source) and (mount.selinux or mount.propagation) is not None
    if mount.type != "bind":
        return False
    return mount.selinux is not None or (mount.create_host_path and mount.propagation is None)


def _bind(stack: Stack, mount: Mount) -> str:
    options = ["ro" if mount.read_only else "rw", mount.selinux, mount.propagation]
    options += ["nocopy"] if mount.no_copy else []
    volume = stack.volumes.get(mount.source or "") if mount.type == "volume" else None
    source = volume.name if volume else mount.source
    return f"{source}:{mount.target}:{','.join(filter(None, options))}"


def _mount(stack: Stack, mount: Mount) -> dict[str, Any]:
    body: dict[str, Any] = {"Type": mount.type, "Target": mount.target}
    if mount.read_only:
        body["ReadOnly"] = True
    if mount.type == "volume":
        if mount.source:
            volume = stack.volumes.get(mount.source)
            body["Source"] = volume.name if volume else mount.source
        body["VolumeOptions"] = {"NoCopy": True} if mount.no_copy else {}
    elif mount.type == "bind":
        body["Source"] = mount.source
        body["BindOptions"] = {"Propagation": mount.propagation} if mount.propagation else {}
    else:
        sizes = {"SizeBytes": mount.tmpfs_size_bytes, "Mode": mount.tmpfs_mode}
        options = {key: value for key, value in sizes.items() if value is not None}
        if options:
            body["TmpfsOptions"] = options
    return body


def _short_tmpfs(service: Service) -> dict[str, str]:
    """Return what ``tmpfs:`` lists (target to options): the engine has a form of its own for it."""
    listed = service.spec.get("tmpfs") or []
    entries = [listed] if isinstance(listed, str) else listed
    pairs = (str(entry).partition(":") for entry in entries)
    return {target: options for target, _, options in pairs}


def _port_bindings(ports: tuple[Port, ...]) -> dict[str, list[dict[str, str]]]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        if port.published is not None:
            binding = {"HostIp": port.host_ip or "", "HostPort": port.published}
            bindings.setdefault(f"{port.target}/{port.protocol}", []).append(binding)
    return bindings


def _restart_policy(restart: str) -> dict[str, Any] | None:
    name, _, attempts = restart.partition(":")
    if name in {"", "no"}:
        return None
    policy: dict[str, Any] = {"Name": name}
    if attempts:
        policy["MaximumRetryCount"] = int(attempts)
    return policy


def _extra_host(entry: str) -> str:
    # Either "name=address" or "name:address"; an IPv6 address may be in brackets.
    separator = "=" if "=" in entry else ":"
    name, _, address = entry.partition(separator)
    return f"{name}:{address.removeprefix('[').removesuffix(']')}"


def _device(entry: str) -> dict[str, str]:
    source, _, rest = entry.partition(":")
    target, _, permissions = rest.partition(":")
    return {
        "PathOnHost": source,
        "PathInContainer": target or source,
        "CgroupPermissions": permissions or "rwm",
    }


def _network_mode(stack: Stack, service: Service) -> str:
    if service.network_mode:
        return service.network_mode
    if not service.attachments:
        return "none"
    return stack.networks[network_order(service.attachments)[0].network].name


def _endpoints(stack: Stack, service: Service, number: int) -> dict[str, dict[str, Any]]:
    if service.network_mode:
        return {}
    aliases = [container_name(stack, service, number), service.name]
    return {
        stack.networks[each.network].name: _endpoint(each, aliases)
        for each in network_order(service.attachments)
    }


def _endpoint(attachment: Attachment, aliases: list[str]) -> dict[str, Any]:
    body: dict[str, Any] = {"Aliases": [*aliases, *attachment.aliases]}
    addresses = {
        "IPv4Address": attachment.ipv4_address,
        "IPv6Address": attachment.ipv6_address,
    }
    fixed = {key: value for key, value in addresses.items() if value}
    if fixed:
        body["IPAMConfig"] = fixed
    if attachment.mac_address:
        body["MacAddress"] = attachment.mac_address
    return body
