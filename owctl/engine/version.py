"""What answers to ``/version``: which engine it is, and which API version to speak with it."""

from collections.abc import Mapping
from typing import Any

from owctl.errors import EngineError

MINIMUM_API_VERSION = "1.41"
HIGHEST_TESTED_API_VERSION = "1.52"


def is_podman(server: Mapping[str, Any]) -> bool:
    """Return whether the answer is that of Podman, which speaks docker's API beside its own."""
    components = server.get("Components") or []
    return any((component or {}).get("Name") == "Podman Engine" for component in components)


def negotiate(server: Mapping[str, Any]) -> str:
    """Return the API version to speak with the engine that answered ``server`` to ``/version``.

    It is the engine's own, but no later than what owctl is tested with.
    Raises EngineError when there is none that both know.
    """
    offered = str(server["ApiVersion"])
    minimum = str(server.get("MinAPIVersion") or MINIMUM_API_VERSION)
    engine = f"Docker engine {server.get('Version', '')} (API {offered})"
    if version_key(offered) < version_key(MINIMUM_API_VERSION):
        raise EngineError(
            f"Cannot use this engine: {engine} is too old",
            hint=f"update Docker to 20.10 or later (API {MINIMUM_API_VERSION})",
        )
    if version_key(minimum) > version_key(HIGHEST_TESTED_API_VERSION):
        raise EngineError(
            f"Cannot use this engine: {engine} speaks nothing older than API {minimum}",
            hint=f"update owctl: this one knows the API up to {HIGHEST_TESTED_API_VERSION}",
        )
    return min(offered, HIGHEST_TESTED_API_VERSION, key=version_key)


def version_key(version: str) -> tuple[int, ...]:
    """Return "1.41" as (1, 41), which compares as versions do."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())
