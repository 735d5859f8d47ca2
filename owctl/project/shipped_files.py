"""The files that owctl ships: the compose files, the demonstration and the example .env."""

import os
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from owctl.errors import OwctlError

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
