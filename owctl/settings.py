"""What the user asked for, from flags, the environment and ``.env``: frozen, checked at once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from owctl.environment.dotenv import read_environment_file
from owctl.environment.paths import display_path
from owctl.errors import ConfigurationError, Problem

COMPOSE_FILE_NAMES = (
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
)
OVERRIDE_FILE_NAMES = (
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yaml",
    "docker-compose.override.yml",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The global options of the command line, as given; None or empty means not given."""

    project_dir: Path | None = None
    files: tuple[Path, ...] = ()
    environment_files: tuple[Path, ...] = ()
    project_name: str | None = None
    profiles: tuple[str, ...] = ()
    context: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the project is and which engine runs it.

    ``environment`` is the interpolation environment: ``.env`` with the process environment over
    it. ``compose_files`` is empty where there are none (before ``setup``). Secrets live in
    ``environment``, so it never appears in the repr. ``unset_variables`` are those that the
    environment files refer to and nobody sets.
    """

    project_dir: Path
    compose_files: tuple[Path, ...]
    environment_files: tuple[Path, ...]
    project_name: str | None
    profiles: tuple[str, ...]
    docker_context: str | None
    environment: Mapping[str, str] = field(repr=False)
    unset_variables: tuple[str, ...] = ()

    @classmethod
    def load(cls, flags: Flags, environ: Mapping[str, str], working_dir: Path) -> "Settings":
        """Find the project and read its variables.

        ``environ`` is the process environment, ``working_dir`` an absolute path to start from.
        The project's folder is ``-C``, else the first compose file's. Raises ConfigurationError
        naming every file that does not exist or cannot be read.
        """
        base = _base_dir(flags, environ, working_dir)
        if not base.is_dir():
            raise ConfigurationError(
                f"The project folder {base} does not exist.",
                hint=f"give an existing folder with -C, or create it: mkdir -p {base}",
            )
        variables = _Variables(environ)
        explicit = _explicit_environment_files(flags, environ, working_dir)
        for path in explicit:
            variables.read(path, wins=True)
        if not explicit:
            variables.read_default(base)
        files = _compose_files(flags, variables.values, base, working_dir)
        directory = files[0].parent if files and flags.project_dir is None else base
        if not explicit and directory != base:
            variables.read_default(directory)
        missing = _missing(explicit, "environment file") + _missing(files, "compose file")
        if missing or variables.problems:
            raise ConfigurationError(
                "The project's settings cannot be read.",
                hint="check -f, --env-file and COMPOSE_FILE"
                if missing
                else "correct the lines named above; `owctl config --validate` checks them",
                problems=[*missing, *variables.problems],
            )
        named = flags.project_name or variables.values.get("COMPOSE_PROJECT_NAME")
        return cls(
            project_dir=directory,
            compose_files=files,
            environment_files=tuple(variables.files),
            project_name=named or None,
            profiles=flags.profiles or _split(variables.values.get("COMPOSE_PROFILES", ""), ","),
            docker_context=flags.context or environ.get("DOCKER_CONTEXT") or None,
            environment=variables.values,
            unset_variables=tuple(variables.unset),
        )


class _Variables:
    """The process environment with environment files below it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.values = dict(environ)
        self.files: list[Path] = []
        self.problems: list[Problem] = []
        self.unset: dict[str, None] = {}

    def read_default(self, directory: Path) -> None:
        """Read the folder's ``.env`` if there is one; what is set already stays."""
        self.read(directory / ".env", wins=False)

    def read(self, path: Path, *, wins: bool) -> None:
        """Read a file if it exists; ``wins`` over earlier files, never over the process."""
        if not _is_file(path):
            return
        found = read_environment_file(path, self.values)
        keep = self.environ if wins else self.values
        self.values |= {key: value for key, value in found.values.items() if key not in keep}
        self.files.append(path)
        self.problems += found.problems
        self.unset |= dict.fromkeys(found.unset)


def _base_dir(flags: Flags, environ: Mapping[str, str], working_dir: Path) -> Path:
    """Return where the search for files starts: their names are relative to it."""
    if flags.project_dir is not None:
        return _absolute(working_dir, flags.project_dir)
    if flags.files or environ.get("COMPOSE_FILE"):
        return working_dir
    for candidate in (working_dir, *working_dir.parents):
        if _is_project(candidate, environ):
            return candidate
    return working_dir


def _is_project(directory: Path, environ: Mapping[str, str]) -> bool:
    if any(_is_file(directory / name) for name in COMPOSE_FILE_NAMES):
        return True
    env_file = directory / ".env"
    return _is_file(env_file) and bool(
        read_environment_file(env_file, environ).values.get("COMPOSE_FILE")
    )


def _explicit_environment_files(
    flags: Flags, environ: Mapping[str, str], working_dir: Path
) -> tuple[Path, ...]:
    names = flags.environment_files or tuple(
        Path(name) for name in _split(environ.get("COMPOSE_ENV_FILES", ""), ",")
    )
    return tuple(_absolute(working_dir, name) for name in names)


def _compose_files(
    flags: Flags, variables: Mapping[str, str], base: Path, working_dir: Path
) -> tuple[Path, ...]:
    if flags.files:
        return tuple(_absolute(working_dir, path) for path in flags.files)
    if variables.get("COMPOSE_FILE"):
        separator = variables.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
        names = _split(variables["COMPOSE_FILE"], separator)
        return tuple(_absolute(base, Path(name)) for name in names)
    first = next((base / name for name in COMPOSE_FILE_NAMES if _is_file(base / name)), None)
    if first is None:
        return ()
    override = (base / name for name in OVERRIDE_FILE_NAMES if _is_file(base / name))
    return (first, *list(override)[:1])


def _absolute(base: Path, path: Path) -> Path:
    # Symbolic links stay as they are: compose names projects and labels after what was typed.
    return Path(os.path.normpath(base / path.expanduser()))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False  # such as a folder that may not be entered, or a name that is too long


def _missing(paths: tuple[Path, ...], what: str) -> list[Problem]:
    return [
        Problem(display_path(path), 0, f"{what} not found") for path in paths if not _is_file(path)
    ]


def _split(text: str, separator: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(separator) if part.strip())
