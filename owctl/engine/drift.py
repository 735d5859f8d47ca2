"""Drift: how a container that exists differs from the one that the files ask for, on docker and on Podman."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from owctl.compose.model import ENGINE_OPTIONS
from owctl.engine.drift_forms import (
    bool_of,
    capability_set,
    device_set,
    environment_of,
    exposed_ports,
    int_of,
    mount_table,
    name_list,
    name_set,
    port_table,
    request_set,
    restart_of,
    security_set,
    ulimit_table,
)
from owctl.engine.naming import CONFIG_HASH, FILES_HASH, SPEC_HASH

# -- Drift: how a container that exists differs from the one that the files ask for.
# Pure functions on a create body and the answers of ``inspect``. What the image or the engine fill
# in is taken out first, so a container that compose made from the same files shows no difference.
# Results are names of what differs, never values: those may be secret.


Document = Mapping[str, Any]

# Labels of these beginnings are the tools' own bookkeeping.
_TOOL_LABELS = ("com.docker.compose.", "io.owctl.", "desktop.docker.")
_ENGINE_STOP_TIMEOUT_SECONDS = 10


def differences(
    wanted_body: Document,
    container_inspect: Document,
    image_inspect: Document,
    *,
    network_ids: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Return what differs between the body to create with and the container that is.

    ``image_inspect`` is the image that the body would use now. ``network_ids`` (name to id), when
    given, also finds a container that still holds a network which was made anew. () means same.
    """
    image = image_inspect.get("Config") or {}
    found: list[str] = []
    if not is_made_from(container_inspect, image_inspect):
        found.append("image")
    found += _network_differences(wanted_body, container_inspect, network_ids or {})
    wanted_labels = wanted_body.get("Labels") or {}
    labels = (container_inspect.get("Config") or {}).get("Labels") or {}
    # What compose made carries no such label: what it wrote is taken for what we would write.
    if FILES_HASH in labels and labels[FILES_HASH] != wanted_labels.get(FILES_HASH):
        found.append("secrets or configs")
    if wanted_labels.get(SPEC_HASH, "") == labels.get(SPEC_HASH, None) and not found:
        return tuple(label_differences(wanted_labels, labels, image))
    found += _process_differences(wanted_body, container_inspect, image)
    found += _host_differences(wanted_body, container_inspect, image)
    found += label_differences(wanted_labels, labels, image)
    if not found and _both_hashes_differ(wanted_labels, labels):
        # Something that the engine's own settings hide, such as a `logging:` taken away.
        same_name = wanted_body.get("Image") == (container_inspect.get("Config") or {}).get("Image")
        found.append("configuration" if same_name else "image name")
    return tuple(dict.fromkeys(found))


def is_made_from(container_inspect: Document, image_inspect: Document) -> bool:
    """Return whether a container was made from that very image."""
    return bool(
        _image_ids(container_inspect, "Image", "ImageManifestDescriptor")
        & _image_ids(image_inspect, "Id", "Descriptor")
    )


def _image_ids(document: Document, key: str, descriptor: str) -> set[str]:
    # With the containerd image store an image of several platforms has an index and a manifest.
    found = {document.get(key), (document.get(descriptor) or {}).get("digest")}
    return {identity for identity in found if identity}


def _both_hashes_differ(wanted: Mapping[str, str], actual: Mapping[str, str]) -> bool:
    return all(
        key in wanted and key in actual and wanted[key] != actual[key]
        for key in (SPEC_HASH, CONFIG_HASH)
    )


def _process_differences(wanted: Document, container: Document, image: Document) -> Iterator[str]:
    """Yield what differs in the container's ``Config``."""
    config = container.get("Config") or {}
    yield from _environment_differences(wanted, config, image)
    command, entrypoint = _expected_command(wanted, image)
    if list(config.get("Cmd") or []) != command:
        yield "command"
    if list(config.get("Entrypoint") or []) != entrypoint:
        yield "entrypoint"
    yield from _plain_differences(wanted, config, image)
    if _hostname_differs(wanted, container):
        yield "hostname"
    if _expected_healthcheck(wanted, image) != _normal_healthcheck(config.get("Healthcheck")):
        yield "healthcheck"
    expected_ports = exposed_ports(wanted.get("ExposedPorts")) | exposed_ports(
        image.get("ExposedPorts")
    )
    if exposed_ports(config.get("ExposedPorts")) != expected_ports:
        yield "exposed ports"


def _plain_differences(wanted: Document, config: Document, image: Document) -> Iterator[str]:
    for key, name, default in (
        ("User", "user", ""),
        ("WorkingDir", "working directory", "/"),
        ("StopSignal", "stop signal", "SIGTERM"),
    ):
        expected = wanted.get(key) or image.get(key) or default
        if (config.get(key) or default) != expected:
            yield name
    for key, name in (("Tty", "tty"), ("OpenStdin", "stdin")):
        if bool_of(wanted.get(key)) != bool_of(config.get(key)):
            yield name
    grace, actual_grace = wanted.get("StopTimeout"), config.get("StopTimeout")
    if _or_default(grace) != _or_default(actual_grace):
        yield "stop grace period"


def _environment_differences(wanted: Document, config: Document, image: Document) -> Iterator[str]:
    expected = {
        name: value
        for name, value in {
            **environment_of(image.get("Env")),
            **environment_of(wanted.get("Env")),
        }.items()
        if value is not None
    }
    found = environment_of(config.get("Env"))
    actual = {name: value for name, value in found.items() if value is not None}
    for name in sorted(expected.keys() | actual.keys()):
        if expected.get(name) != actual.get(name):
            yield f"environment {name}"


def _expected_command(wanted: Document, image: Document) -> tuple[list[str], list[str]]:
    """Return command and entrypoint as the engine merges them with the image's."""
    command, entrypoint = wanted.get("Cmd"), wanted.get("Entrypoint")
    if not entrypoint:
        command = command or image.get("Cmd")
        if entrypoint is None:
            entrypoint = image.get("Entrypoint")
    return list(command or []), list(entrypoint or [])


def _hostname_differs(wanted: Document, container: Document) -> bool:
    actual = (container.get("Config") or {}).get("Hostname") or ""
    if wanted.get("Hostname"):
        return bool(actual != wanted["Hostname"])
    mode = str((container.get("HostConfig") or {}).get("NetworkMode") or "")
    is_its_own = actual in {"", str(container.get("Id", ""))[:12]}
    return not is_its_own and mode != "host" and not mode.startswith("container:")


def _expected_healthcheck(wanted: Document, image: Document) -> dict[str, Any]:
    """Return the check as the engine merges it with the image's, empty values left out."""
    ours = _normal_healthcheck(wanted.get("Healthcheck"))
    if ours.get("Test") == ["NONE"]:
        return {"Test": ["NONE"]}
    return {**_normal_healthcheck(image.get("Healthcheck")), **ours}


def _normal_healthcheck(check: Document | None) -> dict[str, Any]:
    present = {key: value for key, value in (check or {}).items() if value}
    return {"Test": ["NONE"]} if present.get("Test") == ["NONE"] else present


def _host_differences(wanted: Document, container: Document, image: Document) -> Iterator[str]:
    """Yield what differs in ``HostConfig``."""
    ours, theirs = wanted.get("HostConfig") or {}, container.get("HostConfig") or {}
    for key, name, form in _HOST_KEYS:
        if form(ours.get(key)) != form(theirs.get(key)):
            yield name
    yield from _filled_in_differences(ours, theirs)
    yield from _mount_differences(ours, theirs, image)


def _filled_in_differences(ours: Document, theirs: Document) -> Iterator[str]:
    """Yield what differs of the keys that the engine fills in from its own settings.

    They are compared only where the files say something.
    """
    for key, name in ENGINE_OPTIONS.items():
        if name in ours and ours[name] != theirs.get(name):
            yield key
    if ours.get("ShmSize") and ours["ShmSize"] != theirs.get("ShmSize"):
        yield "shm_size"
    limits = ulimit_table(ours.get("Ulimits"))
    actual_limits = ulimit_table(theirs.get("Ulimits"))
    if any(actual_limits.get(name) != limit for name, limit in limits.items()):
        yield "ulimits"
    logging, actual_logging = ours.get("LogConfig") or {}, theirs.get("LogConfig") or {}
    options, actual_options = logging.get("Config") or {}, actual_logging.get("Config") or {}
    other_driver = logging.get("Type") and logging["Type"] != actual_logging.get("Type")
    if other_driver or any(actual_options.get(key) != text for key, text in options.items()):
        yield "logging"


def _mount_differences(ours: Document, theirs: Document, image: Document) -> Iterator[str]:
    expected, actual = mount_table(ours), mount_table(theirs)
    # Compose hands the anonymous volumes of the image on to the next container by name.
    of_image = {path.rstrip("/") for path in image.get("Volumes") or {}}
    for target in sorted(expected.keys() | actual.keys()):
        one, other = expected.get(target), actual.get(target)
        if one is None and other is not None and other.type == "volume" and target in of_image:
            continue
        if one is not None and other is not None and one.type == other.type == "volume":
            one = one if one.source else one._replace(source=other.source)
        if one != other:
            yield f"mount {target}"


def _network_differences(
    wanted: Document, container: Document, network_ids: Mapping[str, str]
) -> Iterator[str]:
    endpoints = (wanted.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
    mode = str((wanted.get("HostConfig") or {}).get("NetworkMode") or "default")
    names = set(endpoints) or {"bridge" if mode == "default" else mode}
    actual = (container.get("NetworkSettings") or {}).get("Networks") or {}
    for name in sorted(names | set(actual)):
        if name not in names or name not in actual:
            yield f"network {name}"
            continue
        endpoint = actual[name] or {}
        held, current = endpoint.get("NetworkID"), network_ids.get(name)
        is_stale = bool(held and current and held != current)
        if is_stale or _endpoint_differs(endpoints.get(name) or {}, endpoint, container):
            yield f"network {name}"


def _endpoint_differs(wanted: Document, actual: Document, container: Document) -> bool:
    addresses, actual_addresses = wanted.get("IPAMConfig") or {}, actual.get("IPAMConfig") or {}
    for key in ("IPv4Address", "IPv6Address"):
        if (addresses.get(key) or "") != (actual_addresses.get(key) or ""):
            return True
    if not wanted.get("Aliases"):
        return False
    aliases = set(wanted["Aliases"])
    present = set(actual.get("Aliases") or []) | set(actual.get("DNSNames") or [])
    config = container.get("Config") or {}
    engines_own = {
        str(container.get("Id", ""))[:12],
        str(container.get("Name", "")).lstrip("/"),
        config.get("Hostname") or "",
    }
    return not aliases <= present or bool(present - aliases - engines_own)


def label_differences(
    wanted: Mapping[str, str], actual: Mapping[str, str], image: Document
) -> Iterator[str]:
    """Yield the labels that differ; ``image`` is the image's configuration, with its own."""
    of_image = image.get("Labels") or {}
    expected = {**of_image, **wanted}
    for name in sorted(expected.keys() | actual.keys()):
        if not name.startswith(_TOOL_LABELS) and expected.get(name) != actual.get(name):
            yield f"label {name}"


def _or_default(grace_seconds: int | None) -> int:
    return _ENGINE_STOP_TIMEOUT_SECONDS if grace_seconds is None else grace_seconds


_HOST_KEYS: tuple[tuple[str, str, Callable[[Any], object]], ...] = (
    ("PortBindings", "ports", port_table),
    ("CapAdd", "cap_add", capability_set),
    ("CapDrop", "cap_drop", capability_set),
    ("SecurityOpt", "security_opt", security_set),
    ("ExtraHosts", "extra_hosts", name_set),
    ("Devices", "devices", device_set),
    ("DeviceRequests", "device reservations", request_set),
    ("RestartPolicy", "restart", restart_of),
    ("GroupAdd", "group_add", name_set),
    ("Dns", "dns", name_list),
    ("Privileged", "privileged", bool_of),
    ("ReadonlyRootfs", "read_only", bool_of),
    ("Init", "init", bool_of),
    ("Memory", "memory limit", int_of),
    ("MemoryReservation", "memory reservation", int_of),
    ("NanoCpus", "cpus", int_of),
    ("PidsLimit", "pids limit", int_of),
)


# -- Where Podman's docker interface is not docker's: what is sent to it, and how it is compared.
# Tried with Debian's Podman 4.3. Its ``inspect`` fills in defaults of its own (variables, limits, a log
# driver, a signal's number), so containers are compared by the hash in their label.


def for_podman(body: Document) -> dict[str, Any]:
    """Return the body to create a container with as Podman understands it.

    Its firewall rules take the host address 0.0.0.0 at its word, and let nobody in.
    """
    host = dict(body.get("HostConfig") or {})
    host["PortBindings"] = {
        port: [_everywhere(binding) for binding in bindings or []]
        for port, bindings in (host.get("PortBindings") or {}).items()
    }
    return {**body, "HostConfig": host}


def differences_on_podman(
    wanted: Document, container: Document, image: Document
) -> tuple[str, ...]:
    """Return what differs between the body to create with and the container that is.

    One that owctl did not make carries no hash, and so differs.
    """
    labels = (container.get("Config") or {}).get("Labels") or {}
    wanted_labels = wanted.get("Labels") or {}
    found = [] if is_made_from(container, image) else ["image"]
    endpoints = (wanted.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
    networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
    if endpoints:
        found += [f"network {name}" for name in sorted(set(endpoints) ^ set(networks))]
    if labels.get(FILES_HASH) != wanted_labels.get(FILES_HASH):
        found.append("secrets or configs")
    if labels.get(SPEC_HASH) != wanted_labels.get(SPEC_HASH):
        found.append("configuration")
    found += label_differences(wanted_labels, labels, image.get("Config") or {})
    return tuple(found)


def _everywhere(binding: Document) -> dict[str, Any]:
    is_wildcard = binding.get("HostIp") == "0.0.0.0"  # noqa: S104  # compared, not bound
    return {**binding, "HostIp": ""} if is_wildcard else dict(binding)
