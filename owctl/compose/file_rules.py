"""Checks ``secrets`` and ``configs``: files that a service gets, from a file or a variable."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from owctl.compose.document import Invalid, Node
from owctl.compose.fields import (
    Converter,
    Reference,
    Scope,
    boolean,
    expect,
    integer,
    labels,
    mapping,
    text,
)
from owctl.compose.mount_rules import host_path

Section = Literal["secrets", "configs"]
SECTIONS: tuple[Section, ...] = ("secrets", "configs")
FOLDERS: Mapping[str, str] = {"secrets": "/run/secrets/", "configs": "/"}
_SOURCES: Mapping[str, tuple[str, ...]] = {
    "secrets": ("file", "environment"),
    "configs": ("file", "environment", "content"),
}


def _file(node: Node, path: str, scope: Scope) -> str:
    return host_path(text(node, path, scope), scope)


def _external(node: Node, path: str, scope: Scope) -> bool:
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
    "external": _external,
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
        spec = {k: v for k, v in given.items() if v not in (False, "", {})}
        return {"name": spec.pop("name", None) or f"{project}_{key}", **spec}

    return checked


def _mode(node: Node, path: str, scope: Scope) -> int:
    if isinstance(node.value, str):
        # compose reads the digits of a text as a decimal number: "0440" would be 0670.
        raise Invalid(node, f"{path} must be a number such as 0440, without quotes")
    return integer(node, path, scope)


def _number(node: Node, path: str, scope: Scope) -> str:
    value = text(node, path, scope)
    if not re.fullmatch("[0-9]{1,9}", value):
        raise Invalid(node, f'{path} is "{value}", but must be a number in quotes, such as "1000"')
    return value


_GRANT = mapping(
    {"source": text, "target": text, "uid": _number, "gid": _number, "mode": _mode},
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
            if not source:
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
