"""The files that owctl ships, which of them a folder needs, and what setup would write."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from owctl.errors import ConfigurationError, OwctlError, UsageError
from owctl.project import private_file
from owctl.settings import Flags, Settings

if TYPE_CHECKING:
    from owctl.compose.model import Stack


# -- The files that owctl ships, and which of them a folder needs.


# -- The files that owctl ships: the compose files, the demonstration and the example .env.


COMPOSE_FILE = "compose.yaml"
DEMO_COMPOSE_FILE = "compose.demo.yaml"
SCALE_COMPOSE_FILE = "compose.scale.yaml"
DEVELOPMENT_COMPOSE_FILE = "compose.dev.yaml"
DEMO_DEVELOPMENT_COMPOSE_FILE = "compose.demo.dev.yaml"
DEMO_FOLDER = "demo"
EXAMPLE_FILE = ".env.example"


@dataclass(frozen=True, slots=True)
class ShippedFile:
    """A file to be written below the project's folder; ``path`` is relative to it."""

    path: str
    data: bytes
    executable: bool = False


def production_files() -> tuple[ShippedFile, ...]:
    """Return what an empty folder gets, ``.env`` apart. Raises OwctlError if it is missing."""
    folder = _compose_folder()
    names = (COMPOSE_FILE, SCALE_COMPOSE_FILE, DEVELOPMENT_COMPOSE_FILE)
    return tuple(_read(folder / name, name) for name in names)


def development_file() -> ShippedFile:
    """Return what a folder lacks that an earlier owctl set up."""
    return _read(_compose_folder() / DEVELOPMENT_COMPOSE_FILE, DEVELOPMENT_COMPOSE_FILE)


def demo_files() -> tuple[ShippedFile, ...]:
    """Return what the demonstration needs besides: its overrides and its build contexts."""
    folder = _compose_folder()
    contexts = _tree(folder / DEMO_FOLDER, DEMO_FOLDER)
    names = (DEMO_COMPOSE_FILE, DEMO_DEVELOPMENT_COMPOSE_FILE)
    return (*contexts, *(_read(folder / name, name) for name in names))


def example_text() -> str:
    """Return the example ``.env``."""
    wheel = _wheel()
    source = wheel / EXAMPLE_FILE if wheel is not None else _checkout() / EXAMPLE_FILE
    return _read(source, EXAMPLE_FILE).data.decode("utf-8")


def path_of(name: str) -> Path | None:
    """Return where a shipped compose file lies, None if there is none of that name."""
    source = _compose_folder() / name
    return source if isinstance(source, Path) and source.is_file() else None


def _compose_folder() -> Traversable:
    wheel = _wheel()
    return wheel / "compose" if wheel is not None else _checkout() / "compose"


def _wheel() -> Traversable | None:
    """Return the folder that a wheel carries its copies in; a checkout has none."""
    shipped = resources.files("owctl") / "shipped"
    return shipped if shipped.is_dir() else None


def _checkout() -> Path:
    return Path(__file__).resolve().parents[2]


def _tree(folder: Traversable, prefix: str) -> list[ShippedFile]:
    if not folder.is_dir():
        raise _missing(prefix)
    files: list[ShippedFile] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name == "__pycache__" or entry.name.endswith(".pyc"):
            continue
        path = f"{prefix}/{entry.name}"
        files += _tree(entry, path) if entry.is_dir() else [_read(entry, path)]
    return files


def _read(source: Traversable, path: str) -> ShippedFile:
    try:
        data = source.read_bytes()
    except OSError as error:
        raise _missing(path) from error
    # An installer may have dropped the mode; a script says what it is.
    marked = isinstance(source, Path) and os.access(source, os.X_OK)
    return ShippedFile(path, data, executable=marked or data.startswith(b"#!"))


def _missing(path: str) -> OwctlError:
    return OwctlError(
        f"This installation of owctl lacks {path}, which it should carry.",
        hint="install owctl again",
    )


# -- Which compose files a folder gets from setup, and which it will have afterwards.


# Only files that were written for owctl have this key.
_OURS = b"x-owctl:"


@dataclass(frozen=True, slots=True)
class ComposeChoice:
    """``missing`` are the shipped files to be written, ``present`` those that are there already.

    ``sources`` are the paths to read the future stack from, in order; ``texts`` is their text.
    ``ours`` tells whether the stack is one that owctl ships, ``demo`` whether it is the
    demonstration.
    """

    missing: tuple[ShippedFile, ...]
    present: tuple[str, ...]
    sources: tuple[Path, ...]
    texts: str
    ours: bool
    demo: bool


def choose_compose_files(
    directory: Path, found: tuple[Path, ...], listed: tuple[str, ...], *, demo: bool
) -> ComposeChoice:
    """Decide on a folder's compose files.

    ``found`` are the files that are there, ``listed`` those that its ``.env`` names (paths relative
    to the folder). Raises ConfigurationError for a demonstration in a folder with a stack of its
    own.
    """
    demo_is_here = DEMO_COMPOSE_FILE in listed or _exists(directory / DEMO_COMPOSE_FILE)
    if demo and not demo_is_here and (found or listed):
        raise ConfigurationError(
            f"{directory} has a stack already: the demonstration needs a folder of its own.",
            hint="mkdir demo && owctl -C demo setup --demo",
        )
    demo = demo or DEMO_COMPOSE_FILE in listed
    shipped: tuple[ShippedFile, ...] = ()
    if demo:
        shipped = (*demo_files(), *production_files())
    elif not found:
        shipped = production_files()
    elif _is_ours(directory, found):
        shipped = (development_file(),)
    missing = tuple(file for file in shipped if not _exists(directory / file.path))
    absent = {file.path for file in missing}
    names = (COMPOSE_FILE, DEMO_COMPOSE_FILE) if demo and not listed else listed
    files = tuple(directory / name for name in names) or found or (directory / COMPOSE_FILE,)
    sources = tuple(_source(directory, path) for path in files)
    texts = b"\n".join(path.read_bytes() for path in sources if path.is_file())
    return ComposeChoice(
        missing=missing,
        present=tuple(file.path for file in shipped if file.path not in absent),
        sources=sources,
        texts=texts.decode("utf-8", "replace"),
        ours=_OURS in texts,
        demo=demo,
    )


def _is_ours(directory: Path, found: tuple[Path, ...]) -> bool:
    """Whether the folder's own compose.yaml is one that setup wrote."""
    own = directory / COMPOSE_FILE
    return own in found and own.is_file() and _OURS in own.read_bytes()


def split_list(value: str, separator: str | None) -> tuple[str, ...]:
    """Return the names in a COMPOSE_FILE; ``separator`` is COMPOSE_PATH_SEPARATOR's value."""
    return tuple(name.strip() for name in value.split(separator or os.pathsep) if name.strip())


def _source(directory: Path, path: Path) -> Path:
    """Return where a file can be read now: in the folder, else where owctl keeps it."""
    if path.exists() or path.parent != directory:
        return path
    return path_of(path.name) or path


def _exists(path: Path) -> bool:
    return os.path.lexists(path)


# -- What setup would write, and the settings that it starts from.


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
