"""What a service is: the names that a user may call it by, and the probe that it gets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from owctl.compose.model import Probe, ProbeType, Service, Stack
from owctl.errors import UnknownService

# -- Turns the names that a user types into services of the stack.


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


# -- Which probe a service gets: what its compose entry asks for, else what image and name suggest.


DEFAULT_PATH = "/health"
_DEFAULT_PORTS: dict[ProbeType, int] = {
    "postgres": 5432,
    "redis": 6379,
    "http": 8080,
    "socketio": 8081,
}
_NO_PROBE = Probe("none")


@dataclass(frozen=True, slots=True)
class _Guess:
    """A kind of service and how to recognise it.

    ``images`` are last parts of an image's name without its tag, ``image_parts`` pieces of one,
    ``services`` whole service names.
    """

    type: ProbeType
    images: tuple[str, ...] = ()
    image_parts: tuple[str, ...] = ()
    services: tuple[str, ...] = ()


# Whole names wherever a piece would also match a tool: redis-commander, postgres-exporter.
_GUESSES = (
    _Guess(
        "postgres",
        images=("postgres", "postgresql", "postgis", "pgvector", "timescaledb"),
        services=("postgres", "postgresql"),
    ),
    _Guess(
        "redis",
        images=("redis", "valkey", "redis-stack", "redis-stack-server"),
        services=("redis", "valkey"),
    ),
    _Guess("socketio", image_parts=("socketio",), services=("socketio-bridge", "socketio")),
    _Guess("http", image_parts=("rust-backend",), services=("rust-backend", "backend")),
    _Guess("http", image_parts=("open-webui-frontend", "demo-frontend"), services=("frontend",)),
    _Guess("http", images=("open-webui",)),
)


def choose_probe(service: Service) -> Probe:
    """Return the service's probe, its port (and path, where it has one) filled in.

    Type ``none`` means that the service speaks none of our protocols, or that its compose entry
    says ``none``: then the engine's verdict counts.
    """
    wanted = service.probe or Probe(_guess(service))
    if wanted.type == "none":
        return _NO_PROBE
    path = wanted.path or DEFAULT_PATH if wanted.type in ("http", "socketio") else None
    return Probe(wanted.type, wanted.port or _container_port(service, wanted.type), path)


def _guess(service: Service) -> ProbeType:
    image = _base_name(service.image or "")
    for guess in _GUESSES:
        if image in guess.images or any(part in image for part in guess.image_parts):
            return guess.type
    for guess in _GUESSES:
        if image.endswith(tuple(f"-{name}" for name in guess.images)):
            return guess.type
    for guess in _GUESSES:
        if service.name in guess.services:
            return guess.type
    return "none"


def _base_name(image: str) -> str:
    """``registry:5000/team/postgres:16@sha256:…`` → ``postgres``."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _container_port(service: Service, kind: ProbeType) -> int:
    """Return the protocol's own port if the service has it, else its first, else the default."""
    default = _DEFAULT_PORTS[kind]
    ports = [port.target for port in service.ports if port.protocol == "tcp"]
    ports += _exposed(service.expose)
    return default if default in ports or not ports else ports[0]


def _exposed(entries: Sequence[str]) -> list[int]:
    """``8080``, ``8080/tcp`` → 8080; a range counts with its first port, udp not at all."""
    ports = []
    for entry in entries:
        number, _, protocol = entry.partition("/")
        first = number.partition("-")[0]
        if first.isdecimal() and protocol in ("", "tcp"):
            ports.append(int(first))
    return ports
