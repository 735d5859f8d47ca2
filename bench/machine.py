"""The machine, the versions and the load of a run, for the report."""

import os
import platform
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from owctl import __version__


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and when a run was made. The loads are the kernel's one-minute averages
    (what is measured adds to them: two busy processors make 2)."""

    date: str
    processors: int
    processor: str
    memory_bytes: int
    kernel: str
    python: str
    owctl: str
    commit: str
    engine: str
    compose: str
    load_before: float
    load_highest: float
    seconds: float


class Watch:
    """Notes date, commit and load when a run begins, and describes the run when it ends."""

    def __init__(self, root: Path) -> None:
        self._began = time.monotonic()
        self._date = datetime.now(UTC)
        self._commit = _said(
            ["git", "-C", str(root), "describe", "--always", "--dirty"], os.environ
        )
        self._load = self._highest = os.getloadavg()[0]

    def look(self) -> None:
        """Take note of the load now."""
        self._highest = max(self._highest, os.getloadavg()[0])

    def describe(self, environment: Mapping[str, str]) -> Machine:
        """Return the machine as it is, with the versions that ``environment`` leads to."""
        return Machine(
            date=f"{self._date:%Y-%m-%d %H:%M} UTC",
            processors=os.cpu_count() or 1,
            processor=_processor(),
            memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            kernel=platform.release(),
            python=platform.python_version(),
            owctl=__version__,
            commit=self._commit,
            engine=_said(["docker", "version", "-f", "{{.Server.Version}}"], environment),
            compose=_said(["docker", "compose", "version", "--short"], environment),
            load_before=self._load,
            load_highest=self._highest,
            seconds=time.monotonic() - self._began,
        )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def _said(command: list[str], environment: Mapping[str, str]) -> str:
    result = subprocess.run(
        command, env=dict(environment), capture_output=True, text=True, check=False
    )
    return result.stdout.strip() or "unknown"
