"""How many containers a service gets, and whether it can have that many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from owctl.compose.model import Port, Service, Stack
from owctl.errors import UsageError

# Written by setup beside compose.yaml: takes the fixed host ports away.
SCALE_FILE = "compose.scale.yaml"


@dataclass(frozen=True, slots=True)
class Scale:
    """The number of containers by service, where it differs from the files' own."""

    asked: Mapping[str, int] = field(default_factory=dict)

    def of(self, service: Service) -> int:
        """Return how many containers the service is to have."""
        return self.asked.get(service.name, service.scale)


def check_scale(stack: Stack, scale: Scale, names: Sequence[str]) -> None:
    """Refuse what cannot be: two containers with one name, or on one host port.

    Raises UsageError that says which line of the files is in the way, and the way out.
    """
    for name in names:
        service = stack.services[name]
        count = scale.of(service)
        if count <= 1:
            continue
        if service.container_name is not None:
            raise UsageError(
                f"{name} cannot run {count} times: its container_name, {service.container_name}, "
                "can be given once only.",
                hint=f"take container_name out of the compose file's {name} (a file of overrides: "
                "container_name: !reset null)",
            )
        for port in service.ports:
            free = host_ports(port)
            if free is not None and free < count:
                raise UsageError(
                    f"{name} cannot run {count} times: it publishes "
                    f"{_described(port, free)} for its port {port.target}.",
                    hint=f"{_with_scale_file(stack, name, count)}a range such as "
                    f"{_range(port, count)}:{port.target} under ports",
                )


def host_ports(port: Port) -> int | None:
    """Return how many host ports a port may take; None if the engine chooses or it has none."""
    if not port.published:
        return None
    first, dash, last = port.published.partition("-")
    return int(last) - int(first) + 1 if dash else 1


def _described(port: Port, free: int) -> str:
    if free == 1:
        return f"the one host port {port.published}"
    return f"the host ports {port.published}, {free} in number,"


def _with_scale_file(stack: Stack, name: str, count: int) -> str:
    """Return the command that takes the shipped override along, where the project has it."""
    if not (stack.working_dir / SCALE_FILE).is_file():
        return ""
    files = [path.name for path in stack.config_files if path.name != SCALE_FILE]
    flags = " ".join(f"-f {file}" for file in (*files, SCALE_FILE))
    return f"owctl {flags} start --scale {name}={count}; or "


def _range(port: Port, count: int) -> str:
    first = int((port.published or "0").partition("-")[0])
    return f"{first}-{first + count - 1}"
