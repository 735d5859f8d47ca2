"""What a check says, and the report of them all."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

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
    "backups",
]
# In the order in which they are shown.
CHECKS: tuple[CheckName, ...] = get_args(CheckName)
# Those that `start` makes of what it is about to create and start.
START_CHECKS: tuple[CheckName, ...] = (
    "ports", "mounts", "disk", "memory", "password", "postgres-version",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. A check gives one or more; ``hint`` says what to do about it."""

    check: CheckName
    status: Status
    detail: str
    hint: str | None = None


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
