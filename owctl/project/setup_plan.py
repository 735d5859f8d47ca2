"""What setup is asked for, what it plans, and how a plan is carried out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from owctl.project import private_file
from owctl.settings import Settings

Action = Literal["created", "updated", "restricted", "kept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupRequest:
    """What setup is asked for.

    ``settings`` come from ``load_setup_settings``; ``shell`` is the process environment;
    ``assignments`` are variables for ``.env`` (``--set``); ``project_name`` is ``-p``.
    """

    settings: Settings
    shell: Mapping[str, str] = field(repr=False)
    demo: bool = False
    adopt: bool = False
    assignments: Mapping[str, str] = field(default_factory=dict, repr=False)
    project_name: str | None = None


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file of the project and what happens to it; ``expected`` is what an update replaces."""

    path: Path
    action: Action
    mode: int
    data: bytes = field(default=b"", repr=False)
    expected: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class SetupPlan:
    """All that setup will do. ``generated`` and ``kept`` are names of variables, never values.

    ``project`` is None where the compose files do not tell it yet.
    """

    project: str | None
    directory: Path
    files: tuple[PlannedFile, ...]
    generated: tuple[str, ...]
    kept: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return any(file.action != "kept" for file in self.files)


def apply_setup(plan: SetupPlan) -> None:
    """Write what was planned, each file whole or not at all; nothing is overwritten.

    Raises OwctlError for the first file that cannot be written.
    """
    for file in plan.files:
        if file.action == "created":
            private_file.create_file(file.path, file.data, mode=file.mode)
        elif file.action == "updated":
            private_file.replace_file(file.path, file.data, expected=file.expected)
        elif file.action == "restricted":
            private_file.restrict(file.path)
