"""Where Podman's docker interface is not docker's: what is sent to it, and how it is compared.

Tried with Debian's Podman 4.3. Its ``inspect`` fills in defaults of its own (variables, limits, a log
driver, a signal's number), so containers are compared by the hash in their label.
"""

from collections.abc import Mapping
from typing import Any

from owctl.engine.drift import is_made_from, label_differences
from owctl.engine.naming import FILES_HASH, SPEC_HASH

Document = Mapping[str, Any]


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
