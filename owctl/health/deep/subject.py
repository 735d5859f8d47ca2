"""What a deep check looks at, and what it found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from owctl.compose.model import Probe, Service
from owctl.health.result import ServiceHealth
from owctl.health.target import Address, container_environment
from owctl.postgres.place import Credentials

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container


# -- What a deep check found.


DeepStatus = Literal["healthy", "unhealthy", "skipped"]


@dataclass(frozen=True, slots=True)
class DeepCheck:
    """A check that uses a service as the application does.

    ``check`` is its name, such as ``login`` or ``websocket``. ``skipped`` is neither good nor bad:
    it cannot be made from here, and ``detail`` says why. ``container`` None: there is none.
    """

    service: str
    container: str | None
    check: str
    status: DeepStatus
    latency_ms: float | None
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Return the check as ``owctl health --deep --json`` prints it."""
        return {
            "service": self.service,
            "container": self.container,
            "check": self.check,
            "status": self.status,
            "latency_ms": None if self.latency_ms is None else round(self.latency_ms, 1),
            "detail": self.detail,
        }


# -- What a deep check is given: a running container, where it answers, and what stands around it.


class Skipped(Exception):
    """The check cannot be made from here; the message says why. It proves nothing either way."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A running container to check. ``timeout_seconds`` bounds each check.

    ``rows`` and ``containers`` are those of the whole report, for telling why something fails.
    ``login`` is how the application signs in to this database, None where nothing says.
    """

    engine: "Engine"
    service: Service
    container: "Container"
    probe: Probe
    found_address: Address | None
    rows: Sequence[ServiceHealth]
    containers: "Sequence[Container]"
    timeout_seconds: float
    login: Credentials | None = None

    @property
    def address(self) -> Address:
        """Where the service answers; raises Skipped if it cannot be reached from here."""
        if self.found_address is None:
            raise Skipped(f"port {self.probe.port} cannot be reached from here")
        return self.found_address

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that the container runs with."""
        return container_environment(self.service, self.container)
