"""What a deep check is given: a running container, where it answers, and what stands around it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from owctl.compose.model import Probe, Service
from owctl.health.result import ServiceHealth
from owctl.health.target import Address, container_environment

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container


class Skipped(Exception):
    """The check cannot be made from here; the message says why. It proves nothing either way."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A running container to check. ``timeout_seconds`` bounds each check.

    ``rows`` and ``containers`` are those of the whole report, for telling why something fails.
    """

    engine: "Engine"
    service: Service
    container: "Container"
    probe: Probe
    found_address: Address | None
    rows: Sequence[ServiceHealth]
    containers: "Sequence[Container]"
    timeout_seconds: float

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
