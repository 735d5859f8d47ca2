"""Which compose files a folder gets from setup, and which it will have afterwards."""

import os
from dataclasses import dataclass
from pathlib import Path

from owctl.errors import ConfigurationError
from owctl.project import shipped_files
from owctl.project.shipped_files import COMPOSE_FILE, DEMO_COMPOSE_FILE, ShippedFile

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
        shipped = (*shipped_files.demo_files(), *shipped_files.production_files())
    elif not found:
        shipped = shipped_files.production_files()
    elif _is_ours(directory, found):
        shipped = (shipped_files.development_file(),)
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
    return shipped_files.path_of(path.name) or path


def _exists(path: Path) -> bool:
    return os.path.lexists(path)
