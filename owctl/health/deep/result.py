"""What a deep check found."""

from dataclasses import dataclass
from typing import Any, Literal

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
