"""What the user asked for, from flags, the environment and ``.env``: frozen, checked at once."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from owctl.environment.dotenv import display_path, read_environment_file
from owctl.errors import ConfigurationError, Problem

COMPOSE_FILE_NAMES = (
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
)
OVERRIDE_FILE_NAMES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
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
    environment files refer to and nobody sets; ``ignored_files`` lie beside the compose files that
    were found, under another name that counts, too.
    """

    project_dir: Path
    compose_files: tuple[Path, ...]
    environment_files: tuple[Path, ...]
    project_name: str | None
    profiles: tuple[str, ...]
    docker_context: str | None
    environment: Mapping[str, str] = field(repr=False)
    unset_variables: tuple[str, ...] = ()
    ignored_files: tuple[Path, ...] = ()

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
        # The first files' folder has the .env that may name other files, in another folder.
        files: tuple[Path, ...] = ()
        for _ in range(2):
            files = _compose_files(flags, variables.values, base, working_dir)
            directory = files[0].parent if files and flags.project_dir is None else base
            if not explicit and not _is_set(environ.get("COMPOSE_DISABLE_ENV_FILE")):
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
        named_files = variables.values.get("COMPOSE_FILE")
        named = flags.project_name or variables.values.get("COMPOSE_PROJECT_NAME")
        return cls(
            project_dir=directory,
            compose_files=files,
            environment_files=tuple(variables.files),
            project_name=named or None,
            profiles=flags.profiles or _profiles(variables.values.get("COMPOSE_PROFILES", "")),
            docker_context=flags.context or environ.get("DOCKER_CONTEXT") or None,
            environment=variables.values,
            unset_variables=tuple(variables.unset),
            ignored_files=_ignored(files) if not flags.files and not named_files else (),
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
        """Read the folder's ``.env`` if there is one, once; what is set already stays."""
        if directory / ".env" not in self.files:
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
    folders = (working_dir, *working_dir.parents)
    # As in compose, an .env counts only where no folder above has a compose file.
    for is_project in (_has_compose_file, lambda folder: _names_compose_file(folder, environ)):
        found = next((folder for folder in folders if is_project(folder)), None)
        if found is not None:
            return found
    return working_dir


def _has_compose_file(directory: Path) -> bool:
    return any(_is_file(directory / name) for name in COMPOSE_FILE_NAMES)


def _names_compose_file(directory: Path, environ: Mapping[str, str]) -> bool:
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
    return (*_present(base, COMPOSE_FILE_NAMES)[:1], *_override(base))


def _override(base: Path) -> tuple[Path, ...]:
    """Return the override file that belongs to a folder's compose file, if both are there."""
    return _present(base, OVERRIDE_FILE_NAMES)[:1] if _has_compose_file(base) else ()


def _present(base: Path, names: Sequence[str]) -> tuple[Path, ...]:
    return tuple(base / name for name in names if _is_file(base / name))


def _ignored(files: Sequence[Path]) -> tuple[Path, ...]:
    """Return the files that lie beside the ones in use, under a name that is looked for later."""
    return tuple(
        path
        for names in (COMPOSE_FILE_NAMES, OVERRIDE_FILE_NAMES)
        for used in files
        if used.name in names
        for path in _present(used.parent, names)
        if path not in files
    )


def _is_set(switch: str | None) -> bool:
    return (switch or "").lower() in ("1", "t", "true")


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


def _profiles(text: str) -> tuple[str, ...]:
    # None is one, too, as for compose: a service may have the profile "${UNSET:-}".
    return tuple(part.strip() for part in text.split(","))


def _split(text: str, separator: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(separator) if part.strip())
