"""Forms in which two values that mean the same to the engine are equal.

Each function takes a raw value of a create body or of ``inspect`` (None for "not given").
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_SIZE_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
# The engine adds it to privileged containers.
_LABELS_OFF = "label=disable"


class MountForm(NamedTuple):
    """What counts of a mount; ``source`` is "" for an anonymous volume and for tmpfs."""

    type: str
    source: str
    read_only: bool
    propagation: str
    options: tuple[int, int]


def bool_of(value: object) -> bool:
    """Return whether a switch is on; not given is off."""
    return bool(value)


def int_of(value: Any) -> int:  # noqa: ANN401
    """Return a limit; not given, 0 and -1 mean none."""
    return max(0, int(value or 0))


def environment_of(lines: Sequence[str] | None) -> dict[str, str | None]:
    """Return variables by name; None is one that shall not be there."""
    pairs = (line.partition("=") for line in lines or ())
    return {name: value if separator else None for name, separator, value in pairs}


def exposed_ports(ports: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the ports with their protocol."""
    return frozenset(port if "/" in port else f"{port}/tcp" for port in ports or ())


def port_table(bindings: Mapping[str, Any] | None) -> dict[str, list[tuple[str, str]]]:
    """Return the host's addresses and ports by container port."""
    return {
        target if "/" in target else f"{target}/tcp": sorted(
            (_any_address(entry.get("HostIp")), _chosen_port(entry.get("HostPort")))
            for entry in entries
        )
        for target, entries in (bindings or {}).items()
        if entries
    }


def capability_set(names: Sequence[str] | None) -> frozenset[str]:
    """Return capability names in one spelling."""
    return frozenset(name.upper().removeprefix("CAP_") for name in names or ())


def security_set(options: Sequence[str] | None) -> frozenset[str]:
    """Return security options in one spelling."""
    normal = (
        option.replace(":", "=", 1) if "=" not in option else option for option in options or ()
    )
    return frozenset(
        "no-new-privileges" if option == "no-new-privileges=true" else option
        for option in normal
        if option != _LABELS_OFF
    )


def name_set(names: Sequence[str] | None) -> frozenset[str]:
    """Return names whose order means nothing."""
    return frozenset(names or ())


def name_list(names: Sequence[str] | None) -> tuple[str, ...]:
    """Return names whose order counts."""
    return tuple(names or ())


def device_set(devices: Sequence[Mapping[str, str]] | None) -> frozenset[tuple[str, str, str]]:
    """Return devices."""
    return frozenset(
        (
            device.get("PathOnHost", ""),
            device.get("PathInContainer", ""),
            device.get("CgroupPermissions") or "rwm",
        )
        for device in devices or ()
    )


def request_set(requests: Sequence[Mapping[str, Any]] | None) -> frozenset[str]:
    """Return device reservations as texts, empty keys left out."""
    return frozenset(
        json.dumps({key: value for key, value in request.items() if value}, sort_keys=True)
        for request in requests or ()
    )


def restart_of(policy: Mapping[str, Any] | None) -> tuple[str, int]:
    """Return the restart policy and its number of attempts."""
    given = policy or {}
    return given.get("Name") or "no", int(given.get("MaximumRetryCount") or 0)


def ulimit_table(limits: Sequence[Mapping[str, Any]] | None) -> dict[str, tuple[int, int]]:
    """Return soft and hard limit by name."""
    return {limit["Name"]: (int(limit["Soft"]), int(limit["Hard"])) for limit in limits or ()}


def mount_table(host: Mapping[str, Any]) -> dict[str, MountForm]:
    """Return the mounts of a ``HostConfig`` by target, whichever of three forms they came in."""
    table = dict(_bind(entry) for entry in host.get("Binds") or ())
    for target, options in (host.get("Tmpfs") or {}).items():
        table[plain_path(target)] = MountForm("tmpfs", "", False, "", _tmpfs_options(options))
    for entry in host.get("Mounts") or ():
        table[plain_path(entry["Target"])] = _mount(entry)
    return table


def _bind(entry: str) -> tuple[str, MountForm]:
    source, _, rest = entry.partition(":")
    target, _, mode = rest.partition(":")
    flags = set(mode.split(","))
    kind = "bind" if source.startswith("/") else "volume"
    propagation = next((flag for flag in flags if flag.endswith(("shared", "slave"))), "")
    form = MountForm(kind, plain_path(source), "ro" in flags, propagation, (0, 0))
    return plain_path(target), form


def _mount(entry: Mapping[str, Any]) -> MountForm:
    propagation = str((entry.get("BindOptions") or {}).get("Propagation") or "")
    options = entry.get("TmpfsOptions") or {}
    return MountForm(
        str(entry.get("Type") or ""),
        plain_path(str(entry.get("Source") or "")),
        bool(entry.get("ReadOnly")),
        "" if propagation == "rprivate" else propagation,
        (int(options.get("SizeBytes") or 0), int(options.get("Mode") or 0)),
    )


def _tmpfs_options(text: str) -> tuple[int, int]:
    """Return size in bytes and mode of "size=1m,mode=1777"."""
    options = dict(part.partition("=")[::2] for part in text.split(",") if "=" in part)
    size = options.get("size", "0").lower()
    unit = _SIZE_UNITS.get(size[-1:], 1)
    digits = size.rstrip("kmg")
    mode = options.get("mode", "0")
    return (
        int(digits) * unit if digits.isdigit() else 0,
        int(mode, 8) if mode.isdigit() else 0,
    )


def plain_path(path: str) -> str:
    """Return a path in one spelling."""
    return path.rstrip("/") or path


def _any_address(address: str | None) -> str:
    return "" if address in {None, "0.0.0.0"} else str(address)  # noqa: S104  # compared only


def _chosen_port(port: str | None) -> str:
    return "" if port in {None, "0"} else str(port)
