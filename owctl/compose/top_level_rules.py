"""Checks a document's top level: its keys, networks, volumes and the probes under ``x-owctl``."""

from typing import Any, get_args

from owctl.compose.document import Invalid, Node, kind
from owctl.compose.fields import (
    Converter,
    Scope,
    boolean,
    expect,
    integer,
    labels,
    mapping,
    one_of,
    text,
)
from owctl.compose.file_rules import SECTIONS
from owctl.compose.keys import unknown_key
from owctl.compose.model import Probe, ProbeType

_KEYS = ("name", "version", "services", "networks", "volumes", *SECTIONS)


def check_top_level(document: Node, scope: Scope) -> None:
    """Record keys that cannot be used, and sections that are not mappings."""
    for key, node in document.entries():
        if key == "version":
            scope.warn(f"{node.file}: the key version is obsolete and has no effect; remove it.")
        elif key not in _KEYS and not key.startswith("x-"):
            scope.problems.append(node.problem(unknown_key("", key, "document", _KEYS)))
        elif key == "name" and not isinstance(node.value, str):
            scope.problems.append(node.problem(f"name must be text, not {kind(node.value)}"))
        elif key in _KEYS[2:] and not isinstance(node.value, dict):
            scope.problems.append(node.problem(f"{key} must be a mapping, not {kind(node.value)}"))


def section(document: Node, key: str) -> dict[str, Node]:
    """Return a top-level section's entries."""
    node = document.get(key)
    return dict(node.entries()) if node else {}


def _external(node: Node, path: str, scope: Scope) -> bool:
    if isinstance(node.value, dict):
        raise Invalid(node, f"{path} must be true or false; put the name beside it: name: …")
    return boolean(node, path, scope)


def _ipam_config(node: Node, path: str, scope: Scope) -> list[dict[str, Any]]:
    expect(node, path, list, "a list")
    assert isinstance(node.value, list)
    convert = mapping({"subnet": text, "gateway": text, "ip_range": text, "aux_addresses": labels})
    return [scope.convert(convert, item, path, default={}) for item in node.value]


_NETWORK = mapping(
    {
        "name": text,
        "driver": text,
        "driver_opts": labels,
        "ipam": mapping({"driver": text, "config": _ipam_config, "options": labels}),
        "external": _external,
        "internal": boolean,
        "attachable": boolean,
        "labels": labels,
        "enable_ipv6": boolean,
    },
    section="network",
)
_VOLUME = mapping(
    {
        "name": text,
        "driver": text,
        "driver_opts": labels,
        "external": _external,
        "labels": labels,
    }
)


def network_spec(project: str) -> Converter:
    """Return a converter of a network (its path is its key) to what compose would print."""
    convert = _resource(project, "networks", _NETWORK)

    def with_addresses(node: Node, key: str, scope: Scope) -> dict[str, Any]:
        spec: dict[str, Any] = convert(node, key, scope)
        order = ("name", "driver", "driver_opts", "ipam")
        return {k: spec.get(k, {}) for k in order if k in spec or k == "ipam"} | spec

    return with_addresses


def volume_spec(project: str) -> Converter:
    """Return a converter of a volume (its path is its key) to what compose would print."""
    return _resource(project, "volumes", _VOLUME)


def _resource(project: str, where: str, fields: Converter) -> Converter:
    def convert(node: Node, key: str, scope: Scope) -> dict[str, Any]:
        path = f"{where}.{key}"
        given: dict[str, Any] = {} if node.value is None else fields(node, path, scope)
        spec = {k: v for k, v in given.items() if v not in (False, "", {}) or k == "enable_ipv6"}
        default = key if spec.get("external") else f"{project}_{key}"
        others = [k for k in spec if k not in ("name", "external")]
        if spec.get("external") and others:
            raise Invalid(node, f"{path} is external, so {others[0]} cannot be set here")
        return {"name": spec.pop("name", None) or default, **spec}

    return convert


_PROBE_FIELDS = {"type": one_of(*get_args(ProbeType)), "port": integer, "path": text}
_EXTENSION = mapping({"probe": mapping(_PROBE_FIELDS, required=("type",))})


def probe(service: Node, path: str, scope: Scope) -> Probe | None:
    """Return what a service's ``x-owctl: {probe: …}`` asks for, None if nothing."""
    node = service.get("x-owctl")
    if node is None:
        return None
    given = scope.convert(_EXTENSION, node, f"{path}.x-owctl", default={}).get("probe")
    if not given or "type" not in given:
        return None
    return Probe(given["type"], given.get("port"), given.get("path"))
