"""Computes the hash that docker compose 2.26 puts on containers, to be seen as up to date by it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from owctl.compose.model import Service

# Go writes these characters as escapes inside JSON strings.
_GO_ESCAPES = {
    "<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029",
}  # fmt: skip
_NOT_HASHED = ("build", "pull_policy", "scale")


def config_hash(service: Service) -> str:
    """Return compose's own hash of a service, as hexadecimal SHA-256 of its normalised spec.

    Compose recreates a container whose hash differs from that of its files. The hash is no part
    of compose's specification: this is what 2.26.1 computes, the version it is tested against.
    """
    return hashlib.sha256(go_json(hashed_spec(service)).encode()).hexdigest()


def hashed_spec(service: Service) -> dict[str, Any]:
    """Return what is hashed: the spec in compose's key order, without what needs no new container."""
    spec: dict[str, Any] = {k: v for k, v in service.spec.items() if k not in _NOT_HASHED}
    if "deploy" in spec:
        spec["deploy"] = {k: v for k, v in spec["deploy"].items() if k != "replicas"}
    # An optional dependency on a service that is not active is printed, but in no container's hash.
    active = {dependency.service for dependency in service.depends_on}
    if "depends_on" in spec:
        spec["depends_on"] = {k: v for k, v in spec["depends_on"].items() if k in active}
        if not spec["depends_on"]:
            del spec["depends_on"]
    return spec


def go_json(document: Mapping[str, Any]) -> str:
    """Return a document as Go's JSON encoder writes it."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    for character, escape in _GO_ESCAPES.items():
        text = text.replace(character, escape)
    return text
