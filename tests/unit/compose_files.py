"""Writes compose files into a folder and loads them, as owctl does."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from owctl.compose.loader import load
from owctl.compose.model import Stack
from owctl.errors import ConfigurationError
from owctl.settings import Flags, Settings

DATA = Path(__file__).parents[1] / "data" / "compose"


def load_files(
    folder: Path,
    *names: str | Path,
    environ: Mapping[str, str] | None = None,
    project_name: str | None = "test",
    profiles: tuple[str, ...] = (),
    environment_files: tuple[Path, ...] = (),
) -> Stack:
    flags = Flags(
        files=tuple(Path(name) for name in names),
        environment_files=environment_files,
        project_name=project_name,
        profiles=profiles,
    )
    return load(Settings.load(flags, environ or {}, folder))


def load_texts(folder: Path, *texts: str, **options: object) -> Stack:
    names = [f"file{index}.yaml" for index in range(len(texts))]
    for name, text in zip(names, texts, strict=True):
        (folder / name).write_text(text)
    return load_files(folder, *names, **options)


def problems_of(folder: Path, *texts: str | bytes, **options: object) -> list[str]:
    """Return the problems of files file0.yaml, file1.yaml …, without the folder."""
    names = [f"file{index}.yaml" for index in range(len(texts))]
    for name, text in zip(names, texts, strict=True):
        data = text.encode() if isinstance(text, str) else text
        (folder / name).write_bytes(data)
    with pytest.raises(ConfigurationError) as raised:
        load_files(folder, *names, **options)
    assert raised.value.exit_code == 4
    return [str(problem).replace(f"{folder}/", "") for problem in raised.value.problems]
