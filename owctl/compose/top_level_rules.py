"""The sections beside ``services``: networks, volumes, secrets, configs, and what a service names of the last two."""

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

from owctl.compose.document import Invalid, Node, kind_of
from owctl.compose.fields import (
    Converter,
    Reference,
    Scope,
    boolean,
    expect,
    file_mode,
    integer,
    labels,
    mapping,
    one_of,
    text,
    unknown_key,
)
from owctl.compose.model import Probe, ProbeType
from owctl.compose.mount_rules import host_path

# -- Checks ``secrets`` and ``configs``: files that a service gets, from a file or a variable.


Section = Literal["secrets", "configs"]
SECTIONS: tuple[Section, ...] = ("secrets", "configs")
FOLDERS: Mapping[str, str] = {"secrets": "/run/secrets/", "configs": "/"}
_SOURCES: Mapping[str, tuple[str, ...]] = {
    "secrets": ("file", "environment"),
    "configs": ("file", "environment", "content"),
}


def _file(node: Node, path: str, scope: Scope) -> str:
    return host_path(text(node, path, scope), scope)


def _external_file(node: Node, path: str, scope: Scope) -> bool:
    if boolean(node, path, scope):
        raise Invalid(
            node, f"{path} needs Docker Swarm; say where it comes from: file: … or environment: …"
        )
    return False


_FIELDS: dict[str, Converter] = {
    "name": text,
    "file": _file,
    "environment": text,
    "content": text,
    "external": _external_file,
    "labels": labels,
}


def definition(section: Section, project: str) -> Converter:
    """Return a converter of a top-level secret or config (its path is its key)."""
    sources = _SOURCES[section]
    known = {k: v for k, v in _FIELDS.items() if k != "content" or section == "configs"}
    convert = mapping(known, section="secret or config")

    def checked(node: Node, key: str, scope: Scope) -> dict[str, Any]:
        path = f"{section}.{key}"
        given = convert(node, path, scope)
        named = [source for source in sources if node.get(source) is not None]
        if len(named) != 1 and not (node.get("external") is not None and not named):
            raise Invalid(node, f"{path} needs one of {', '.join(sources)}, and only one")
        _refuse_empty_name(node, path)
        spec = {k: v for k, v in given.items() if v not in (False, "", {})}
        return {"name": spec.pop("name", None) or f"{project}_{key}", **spec}

    return checked


def _number(node: Node, path: str, scope: Scope) -> str:
    value = text(node, path, scope)
    if not re.fullmatch("[0-9]{1,9}", value):
        raise Invalid(node, f'{path} is "{value}", but must be a number in quotes, such as "1000"')
    return value


_GRANT = mapping(
    {"source": text, "target": text, "uid": _number, "gid": _number, "mode": file_mode},
    required=("source",),
)


def grants(section: Section) -> Converter:
    """Return a converter of a service's list; of two at the same place the last one counts."""

    def convert(node: Node, path: str, scope: Scope) -> list[dict[str, Any]]:
        expect(node, path, list, "a list")
        assert isinstance(node.value, list)
        found: dict[str, dict[str, Any]] = {}
        for index, item in enumerate(node.value):
            grant = scope.convert(_grant, item, f"{path}[{index}]", default={})
            source = grant.get("source")
            if source is None:
                continue
            scope.references.append(Reference(section, source, item, path))
            if section == "secrets" and "target" not in grant:
                grant = {"source": source, "target": FOLDERS[section] + source, **grant}
            found[grant.get("target", f"/{source}")] = grant
        return list(found.values())

    return convert


def _grant(node: Node, path: str, scope: Scope) -> dict[str, Any]:
    if isinstance(node.value, str):
        return {"source": node.value}
    given: dict[str, Any] = _GRANT(node, path, scope)
    return {key: value for key, value in given.items() if value != ""}


def target_of(section: Section, grant: Mapping[str, Any]) -> str:
    """Return the absolute path at which a service finds what it is granted."""
    target: str = grant.get("target") or grant["source"]
    return target if target.startswith("/") else FOLDERS[section] + target


# -- Checks a document's top level: its keys, networks, volumes and the probes under ``x-owctl``.


_KEYS = ("name", "version", "services", "networks", "volumes", *SECTIONS)


def check_top_level(document: Node, scope: Scope) -> None:
    """Record keys that cannot be used, and sections that are not mappings."""
    for key, node in document.entries():
        if key == "version":
            scope.warn(f"{node.file}: the key version is obsolete and has no effect; remove it.")
        elif key not in _KEYS and not key.startswith("x-"):
            scope.problems.append(node.problem(unknown_key("", key, "document", _KEYS)))
        elif key == "name" and not isinstance(node.value, str):
            scope.problems.append(node.problem(f"name must be text, not {kind_of(node.value)}"))
        elif key in _KEYS[2:] and not isinstance(node.value, dict):
            scope.problems.append(
                node.problem(f"{key} must be a mapping, not {kind_of(node.value)}")
            )


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
    convert = _resource(project, "volumes", _VOLUME)

    def with_folder(node: Node, key: str, scope: Scope) -> dict[str, Any]:
        spec: dict[str, Any] = convert(node, key, scope)
        options = spec.get("driver_opts", {})
        if spec.get("driver") == "local" and options.get("o") == "bind" and "device" in options:
            options = {**options, "device": host_path(options["device"], scope)}
            spec["driver_opts"] = options
        return spec

    return with_folder


def _refuse_empty_name(node: Node, path: str) -> None:
    # With compose it would be nameless; a name of our own making would be another volume.
    name = node.get("name")
    if name is not None and name.value == "":
        raise Invalid(name, f"{path}.name is empty; is a variable not set?")


def _resource(project: str, where: str, fields: Converter) -> Converter:
    def convert(node: Node, key: str, scope: Scope) -> dict[str, Any]:
        path = f"{where}.{key}"
        given: dict[str, Any] = {} if node.value is None else fields(node, path, scope)
        spec = {k: v for k, v in given.items() if v not in (False, "", {}) or k == "enable_ipv6"}
        _refuse_empty_name(node, path)
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
