"""Whatever stands where in a compose file, the answer is a stack or a list of problems."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from owctl.compose.loader import load
from owctl.compose.model import Stack
from owctl.errors import ConfigurationError
from owctl.settings import Flags, Settings
from tests.unit.compose_files import DATA

Path_ = tuple[str | int, ...]
DOCUMENT: dict[str, Any] = yaml.safe_load((DATA / "everything.yaml").read_text())
ODD = [
    *(None, "", " ", "x", "$", "${X:?y}", ":", "a:b:c:d", "-1", "all", "é\u2028", "1s", "1e999"),
    *(0, -1, 10**30, 1.5, float("nan"), float("inf"), True, False),
    *([], {}, [None], [[]], [{}], [True], ["x"], {"x": None}, {"x": []}, {"": ""}, {"a=b": "c"}),
    *({"target": 1}, {"type": "bind"}, {"type": "volume", "target": "/x"}, {"path": "x"}),
]


def paths(value: Any, path: Path_ = ()) -> list[Path_]:
    found = [path] if path else []
    if isinstance(value, dict):
        children = list(value.items())
    else:
        children = list(enumerate(value)) if isinstance(value, list) else []
    return found + [below for key, child in children for below in paths(child, (*path, key))]


PATHS = paths(DOCUMENT)


def changed(changes: list[tuple[Path_, Any]]) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    for path, value in changes:
        target: Any = document
        try:
            for key in path[:-1]:
                target = target[key]
            target[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    return document


def loaded(folder: Path, *documents: Any) -> Stack | ConfigurationError:
    names = []
    for index, document in enumerate(documents):
        names.append(Path(f"{index}.yaml"))
        (folder / names[-1]).write_text(yaml.safe_dump(document))
    try:
        return load(Settings.load(Flags(files=tuple(names), profiles=("*",)), {}, folder))
    except ConfigurationError as error:
        return error


def check(result: Stack | ConfigurationError) -> None:
    if isinstance(result, Stack):
        assert result.services
    else:
        assert result.problems
        assert all(problem.file.endswith(".yaml") for problem in result.problems)


CHANGES = st.lists(st.tuples(st.sampled_from(PATHS), st.sampled_from(ODD)), min_size=1, max_size=3)


@settings(max_examples=150, deadline=None)
@given(changes=CHANGES)
def test_one_file(tmp_path_factory: pytest.TempPathFactory, changes: list[Any]) -> None:
    check(loaded(tmp_path_factory.mktemp("one"), changed(changes)))


@settings(max_examples=100, deadline=None)
@given(changes=CHANGES)
def test_two_files(tmp_path_factory: pytest.TempPathFactory, changes: list[Any]) -> None:
    check(loaded(tmp_path_factory.mktemp("two"), DOCUMENT, changed(changes)))
