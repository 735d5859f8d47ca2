"""A plan: small steps and what each requires. The same plan is printed by --dry-run and executed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

StepKind = Literal[
    "pull",
    "build",
    "network",
    "volume",
    "rename",
    "create",
    "replace",
    "start",
    "ready",
    "reach",
    "restart",
    "stop",
    "remove",
    "keep",
    "remove-network",
    "remove-volume",
    "remove-image",
]

# Reasons that mean something: a service keeps other containers; the user wants a new one, or image.
SCALED_DOWN, ASKED_FOR = "scaled down", "asked for"
# How a step reads in --dry-run and in the history.
VERBS: dict[StepKind, str] = {
    "pull": "pull image",
    "build": "build image",
    "network": "create network",
    "volume": "create volume",
    "rename": "rename container to",
    "create": "create container",
    "replace": "replace container",
    "start": "start",
    "ready": "wait for",
    "reach": "ask through",
    "restart": "restart",
    "stop": "stop",
    "remove": "remove container",
    "keep": "keep container",
    "remove-network": "remove network",
    "remove-volume": "remove volume",
    "remove-image": "remove image",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One engine call, or one wait.

    ``subject`` is what the user sees (a service, a network, a volume); ``service`` and ``number``
    name the container; ``container_id`` is the existing container a step works on; ``reason`` says
    why the step is there; ``requires`` holds the keys of the steps that must have succeeded.
    """

    kind: StepKind
    subject: str
    service: str | None = None
    number: int = 1
    name: str | None = None
    container_id: str | None = None
    reason: str = ""
    requires: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """Return what other steps name this one by."""
        return f"{self.kind} {self.name or self.subject} {self.number}"

    def __str__(self) -> str:
        text = f"{VERBS[self.kind]} {self.name or self.subject}"
        return f"{text} ({self.reason})" if self.reason else text


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in an order in which they could be run one by one."""

    steps: tuple[Step, ...]

    @property
    def changes(self) -> tuple[Step, ...]:
        """Return the steps that change something: all but the waits and questions."""
        return tuple(step for step in self.steps if step.kind not in ("ready", "reach"))


def keys(steps: Iterable[Step]) -> frozenset[str]:
    """Return the keys of steps, for ``requires``."""
    return frozenset(step.key for step in steps)
