"""What is easily missed in compose files means to owctl what it means to docker compose."""

from pathlib import Path
from typing import Any

import pytest

from owctl.commands.config import printable_spec
from tests.unit.compose_files import load_texts, problems_of
from tests.unit.compose_meanings import ABSENT, MEANINGS, Meaning


def found_at(document: Any, place: tuple[str | int, ...]) -> Any:
    for key in place:
        if isinstance(key, str) and key not in document:
            return ABSENT
        document = document[key]
    return document


@pytest.mark.parametrize("meaning", MEANINGS, ids=lambda meaning: meaning.name)
def test_a_meaning(tmp_path: Path, meaning: Meaning) -> None:
    if meaning.refused:
        problems = problems_of(tmp_path, *meaning.texts, environ={"HOME": "/root"})
        assert any(meaning.refused in problem for problem in problems), problems
        return
    environ = {"HOME": "/root", **meaning.variables}
    document = printable_spec(load_texts(tmp_path, *meaning.texts, environ=environ))
    value = meaning.value
    if isinstance(value, str):
        value = value.replace("FOLDER", str(tmp_path))
    assert found_at(document, meaning.place) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("volumes: {vol: {external: true, name: '${V:-}'}}", "volumes.vol.name is empty"),
        ("volumes: {vol: {name: ''}}", "volumes.vol.name is empty"),
        ("networks: {n: {name: '${V:-}'}}", "networks.n.name is empty"),
    ],
)
def test_a_name_that_is_empty_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    problems = problems_of(tmp_path, f"services: {{s: {{image: x}}}}\n{text}\n")
    assert any(expected in problem for problem in problems)


def test_a_container_name_is_one_service_s(tmp_path: Path) -> None:
    text = "services: {a: {image: x, container_name: cc}, b: {image: x, container_name: cc%s}}"
    assert "services.b.container_name is cc, as that of a" in problems_of(tmp_path, text % "")[0]
    load_texts(tmp_path, text % ", profiles: [p]")


def test_a_command_that_ends_early_is_warned_of(tmp_path: Path) -> None:
    stack = load_texts(tmp_path, "services: {s: {image: x, command: 'a && b', entrypoint: 'a; b'}}")
    assert [warning.partition(",")[0] for warning in stack.warnings] == [
        "services.s.command ends before its unquoted &",
        "services.s.entrypoint ends before its unquoted ;",
    ]
