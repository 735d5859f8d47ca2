"""The files that owctl ships, and which of them a folder needs."""

import os
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from owctl.errors import ConfigurationError, OwctlError

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
