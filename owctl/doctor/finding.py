"""What a check found, and the situation that it looked at."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from owctl.compose.model import Service, Stack

if TYPE_CHECKING:
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container
    from owctl.engine.images import Image


# -- What a check says, and the report of them all.


Status = Literal["ok", "warning", "failed", "skipped"]
CheckName = Literal[
    "engine",
    "configuration",
    "env",
    "owner",
    "ports",
    "exposure",
    "mounts",
    "disk",
    "memory",
    "images",
    "password",
    "postgres-version",
    "data",
    "lost-data",
    "backups",
]
# In the order in which they are shown.
CHECKS: tuple[CheckName, ...] = get_args(CheckName)
# Those that `start` makes of what it is about to create and start.
START_CHECKS: tuple[CheckName, ...] = (
    "ports", "mounts", "disk", "memory", "password", "postgres-version", "lost-data",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. A check gives one or more; ``hint`` says what to do about it.

    ``subject`` is the service that it is about, where somebody asks for that.
    """

    check: CheckName
    status: Status
    detail: str
    hint: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All findings. ``project`` is None where the compose files do not tell it."""

    project: str | None
    findings: tuple[Finding, ...]

    @property
    def status(self) -> Status:
        """The worst of all: failed, warning or ok."""
        found = {finding.status for finding in self.findings}
        return "failed" if "failed" in found else "warning" if "warning" in found else "ok"

    def failed(self, check: CheckName) -> bool:
        """Return whether a check has a hard finding."""
        return any(f.check == check and f.status == "failed" for f in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the document of ``doctor --json``."""
        return {
            "schema": 1,
            "project": self.project,
            "status": self.status,
            "checks": [
                {
                    "check": finding.check,
                    "status": finding.status,
                    "detail": finding.detail,
                    "hint": finding.hint,
                }
                for finding in self.findings
            ],
        }


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings in the order of the checks; those of one check stay as they were."""
    return tuple(sorted(findings, key=lambda finding: CHECKS.index(finding.check)))


# -- What the checks look at: the stack, and what the engine has of it.


@dataclass(frozen=True, slots=True)
class Situation:
    """A stack on an engine, seen once. ``volumes`` are the names of those that exist;
    ``images`` maps references to images that are on the machine.
    """

    engine: "Engine"
    stack: Stack
    containers: tuple["Container", ...] = ()
    volumes: frozenset[str] = frozenset()
    images: Mapping[str, "Image"] = field(default_factory=dict)

    def of(self, service: str) -> tuple["Container", ...]:
        """Return a service's containers, running ones first."""
        found = [container for container in self.containers if container.service == service]
        return tuple(sorted(found, key=lambda container: not container.is_running))

    def image(self, service: Service) -> "Image | None":
        """Return the image that the files give a service, None if it is not there."""
        return self.images.get(service.image_name(self.stack.project))

    @property
    def is_local(self) -> bool:
        """Whether the engine is on this machine, as far as its address tells."""
        return self.engine.endpoint.is_local


def look(engine: "Engine", stack: Stack) -> Situation:
    """See what the engine has of the stack. Raises the engine's errors."""
    from owctl.engine.containers import list_containers
    from owctl.engine.images import inspect_image
    from owctl.health.parallel import at_once

    names = sorted({service.image_name(stack.project) for service in stack.services.values()})

    def volumes() -> frozenset[str]:
        with engine.translate("list the volumes"):
            answer = engine.api.volumes()
        return frozenset(str(volume["Name"]) for volume in answer.get("Volumes") or [])

    containers: tuple[Container, ...] = ()
    images: list[Image | None] = []
    present: frozenset[str] = frozenset()

    def look_at_containers() -> None:
        nonlocal containers
        containers = tuple(list_containers(engine, stack.project))

    def look_at_images() -> None:
        images.extend(inspect_image(engine, name) for name in names)

    def look_at_volumes() -> None:
        nonlocal present
        present = volumes()

    at_once([look_at_containers, look_at_images, look_at_volumes])
    found = {name: image for name, image in zip(names, images, strict=True) if image is not None}
    return Situation(engine, stack, containers, present, found)
