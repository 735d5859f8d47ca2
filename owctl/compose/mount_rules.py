"""Checks a service's ``volumes`` and brings them into the long form."""

import posixpath
import re
from pathlib import Path
from typing import Any

from owctl.compose.document import Invalid, Node
from owctl.compose.fields import (
    Converter,
    Reference,
    Scope,
    boolean,
    file_mode,
    mapping,
    one_of,
    size,
    text,
)

_PROPAGATIONS = ("rprivate", "private", "rshared", "shared", "rslave", "slave")
# Written for other systems; they change nothing on Linux, and compose drops them, too.
_NO_EFFECT = ("rw", "cached", "delegated", "consistent")
VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


def volumes(node: Node, path: str, scope: Scope) -> list[dict[str, Any]]:
    """A list of mounts in short or long form; of those with the same target the last counts."""
    if not isinstance(node.value, list):
        raise Invalid(node, f"{path} must be a list")
    found: dict[str, dict[str, Any]] = {}
    for index, item in enumerate(node.value):
        mount = scope.convert(_mount, item, f"{path}[{index}]")
        if mount is not None:
            found[mount["target"]] = mount
            if mount["type"] == "volume" and mount.get("source"):
                scope.references.append(Reference("volumes", mount["source"], item, path))
    return list(found.values())


def host_path(spec: str, scope: Scope) -> str:
    """Return an absolute path: ``~`` is the home folder, relative ones are the project's.

    One that is absolute already stays as it is, as compose leaves it.
    """
    if spec.startswith("/"):
        return spec
    if spec.startswith("~"):
        home = scope.variables.get("HOME", str(Path.home()))
        return posixpath.normpath(posixpath.join(home, spec[1:].lstrip("/")))
    return posixpath.normpath(posixpath.join(scope.project_dir.as_posix(), spec))


def _mount(node: Node, path: str, scope: Scope) -> dict[str, Any] | None:
    if isinstance(node.value, str):
        return _short(node, path, node.value, scope)
    if isinstance(node.value, dict):
        return _long(node, path, scope)
    raise Invalid(
        node, f"{path} must be like data:/var/lib/data, or a mapping with type and target"
    )


def _short(node: Node, path: str, spec: str, scope: Scope) -> dict[str, Any]:
    parts = spec.split(":")
    if re.match("[A-Za-z]:", spec):
        # compose takes it for a drive on any system, and the rest for the target.
        raise Invalid(
            node,
            f'{path} is "{spec}", which begins like a Windows drive; give the volume a longer name, '
            "or use the long form: type, source, target",
        )
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise Invalid(node, f'{path} is "{spec}", but must be like data:/var/lib/data:ro')
    source = parts[0] if len(parts) > 1 else ""
    mount: dict[str, Any] = {"type": "bind" if source[:1] in tuple("./~") else "volume"}
    if source:
        mount["source"] = source if mount["type"] == "volume" else host_path(source, scope)
    mount["target"] = _target(node, path, parts[1] if source else parts[0])
    details: dict[str, Any] = {}
    for option in parts[2].split(",") if len(parts) > 2 else ():
        _option(path, option, mount, details, scope)
    bind = {k: details[k] for k in ("selinux", "propagation") if k in details}
    if mount["type"] == "bind":
        mount["bind"] = {**bind, "create_host_path": True}
    else:
        _check_volume_name(node, path, source)
        if bind:
            mount["bind"] = bind
        mount["volume"] = {"nocopy": True} if "nocopy" in details else {}
    return mount


def _option(
    path: str, option: str, mount: dict[str, Any], details: dict[str, Any], scope: Scope
) -> None:
    if option == "ro":
        mount["read_only"] = True
    elif option == "nocopy":
        details["nocopy"] = True
    elif option in ("z", "Z"):
        details["selinux"] = option
    elif option in _PROPAGATIONS:
        details["propagation"] = option
    elif option not in _NO_EFFECT:
        scope.warn(
            f'{path} has the option "{option}", which changes nothing, as with docker compose.'
        )


def _nullable_mapping(fields: dict[str, Converter], section: str) -> Converter:
    convert = mapping(fields, section=section)
    return lambda node, path, scope: {} if node.value is None else convert(node, path, scope)


_LONG = mapping(
    {
        "type": one_of("volume", "bind", "tmpfs", "npipe", "cluster", "image"),
        "source": text,
        "target": text,
        "read_only": boolean,
        "consistency": text,
        "bind": _nullable_mapping(
            {
                "selinux": one_of("z", "Z"),
                "propagation": one_of(*_PROPAGATIONS),
                "create_host_path": boolean,
            },
            "bind",
        ),
        "volume": _nullable_mapping({"nocopy": boolean}, "volume"),
        "tmpfs": _nullable_mapping({"size": size, "mode": file_mode}, "tmpfs"),
    },
    required=("type",),
    section="mount",
)


def _long(node: Node, path: str, scope: Scope) -> dict[str, Any] | None:
    mount: dict[str, Any] = _LONG(node, path, scope)
    kind = mount.get("type")
    if kind is None or (node.get("target") and "target" not in mount):
        return None  # what is wrong with it has been recorded
    if kind in ("npipe", "cluster", "image"):
        raise Invalid(node, f"{path}.type {kind} is not supported by owctl; use a volume or a bind")
    mount["target"] = _target(node, path, mount.get("target", ""))
    if kind == "bind":
        if not mount.get("source"):
            raise Invalid(node, f"{path} needs the key source")
        mount["source"] = host_path(mount["source"], scope)
        if mount.get("bind", {}).get("create_host_path") is False:
            del mount["bind"]["create_host_path"]
    elif kind == "volume":
        _check_volume_name(node, path, mount.get("source", ""))
        if mount.get("volume", {}).get("nocopy") is False:
            del mount["volume"]["nocopy"]
    elif mount.get("source"):
        raise Invalid(node, f"{path} is a tmpfs, which has no source")
    if mount.get("read_only") is False:
        del mount["read_only"]
    return mount


def _target(node: Node, path: str, target: str) -> str:
    if not target.startswith("/"):
        raise Invalid(node, f'{path} mounts at "{target}", which is not an absolute path')
    return posixpath.normpath("/" + target.lstrip("/"))


def _check_volume_name(node: Node, path: str, source: str) -> None:
    if source and not VOLUME_NAME.fullmatch(source):
        raise Invalid(
            node, f'{path}: "{source}" is neither a volume\'s name nor a path (./{source} is one)'
        )
