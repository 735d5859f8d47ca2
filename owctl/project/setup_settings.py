"""The settings that setup works with: those of a project that need not be there yet."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from owctl.errors import ConfigurationError, UsageError
from owctl.project.setup_plan import SetupRequest
from owctl.settings import Flags, Settings

if TYPE_CHECKING:
    from owctl.compose.model import Stack


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
