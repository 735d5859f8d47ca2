"""What setup would write, and the settings that it starts from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from owctl.errors import ConfigurationError, UsageError
from owctl.project import private_file
from owctl.settings import Flags, Settings

if TYPE_CHECKING:
    from owctl.compose.model import Stack


# -- What setup is asked for, what it plans, and how a plan is carried out.


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


# -- The settings that setup works with: those of a project that need not be there yet.


def load_setup_settings(flags: Flags, environ: Mapping[str, str], working_dir: Path) -> Settings:
    """Find the project as every command does, but let files that ``.env`` lists be missing.

    ``compose_files`` then holds what is there without regard to the list in ``.env``.
    Parameters and errors are those of ``Settings.load``; UsageError inside another project, where
    it is not clear which of the two folders is meant.
    """
    if "COMPOSE_FILE" in environ or flags.files:
        return Settings.load(flags, environ, working_dir)
    # A variable of the process wins over .env, and an empty list of files is none.
    settings = Settings.load(flags, {**environ, "COMPOSE_FILE": ""}, working_dir)
    if flags.project_dir is None and settings.project_dir != working_dir:
        raise UsageError(
            f"This folder, {working_dir}, is inside the project {settings.project_dir}.",
            hint=f"owctl -C {settings.project_dir} setup for that project, or owctl -C . setup to "
            "make a new one here",
        )
    return settings


def load_stack(
    request: SetupRequest, files: tuple[Path, ...], environment: Mapping[str, str]
) -> "Stack":
    """Return the stack of these files with these variables, before any of it is written.

    Raises ConfigurationError where the files cannot be read, or a variable is missing.
    """
    from owctl.compose.loader import load

    settings = request.settings
    if not files:
        raise ConfigurationError("There are no compose files.")
    return load(
        Settings(
            project_dir=settings.project_dir,
            compose_files=files,
            environment_files=settings.environment_files,
            project_name=request.project_name or environment.get("COMPOSE_PROJECT_NAME") or None,
            profiles=settings.profiles,
            docker_context=settings.docker_context,
            environment=environment,
        )
    )
