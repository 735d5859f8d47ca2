"""Turns the names that a user types into services of the stack."""

from collections.abc import Mapping, Sequence

from owctl.compose.model import Service, Stack
from owctl.errors import UnknownService

SHORT_NAMES: Mapping[str, str] = {
    "backend": "rust-backend",
    "bridge": "socketio-bridge",
    "socketio": "socketio-bridge",
    "db": "postgres",
    "cache": "redis",
    "web": "frontend",
}


def resolve_services(stack: Stack, names: Sequence[str]) -> tuple[Service, ...]:
    """Return the named services, each once, in the order given; all of them for no names.

    Short names such as ``backend`` are accepted where no service is called so. Raises
    UnknownService with the nearest match and the names that exist.
    """
    if not names:
        return tuple(stack.services.values())
    found: dict[str, Service] = {}
    for name in names:
        service = stack.services.get(name) or stack.services.get(SHORT_NAMES.get(name, ""))
        if service is None:
            raise _unknown(stack, name)
        found[service.name] = service
    return tuple(found.values())


def _unknown(stack: Stack, name: str) -> UnknownService:
    import difflib

    short = {alias: full for alias, full in SHORT_NAMES.items() if full in stack.services}
    matches = difflib.get_close_matches(name, [*stack.services, *short], n=1)
    available = ", ".join(stack.services) or "none (is a profile missing? --profile)"
    if matches:
        hint = f"{matches[0]}; the services are: {available}"
        return UnknownService(
            f'There is no service "{name}". Did you mean {matches[0]}?', hint=hint
        )
    return UnknownService(
        f'There is no service "{name}".', hint=f"one of the services: {available}"
    )
