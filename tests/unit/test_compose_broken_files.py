"""Files that are no compose files: a message with file and line, never a traceback."""

import time
from pathlib import Path

import pytest

from owctl.compose.loader import load
from owctl.errors import ConfigurationError
from owctl.settings import Flags, Settings
from tests.unit.compose_files import problems_of

SERVICE = "services:\n  a:\n    image: x\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "file0.yaml: is empty"),
        ("# only a comment\n", "file0.yaml: is empty"),
        ("---\n", "file0.yaml: is empty"),
        ("- a\n", "file0.yaml:1: is not a compose file"),
        ("just text", "file0.yaml:1: is not a compose file"),
        ("services:\n\ta:\n", "file0.yaml:2: is indented with a tab"),
        ("services:\n  a:\n    image: 'x\n", "file0.yaml:3: is not valid YAML"),
        ("services: {a: [}\n", "file0.yaml:1: is not valid YAML"),
        (SERVICE + "    image: y\n", 'file0.yaml:4: the key "image" is already in line 3'),
        (SERVICE + "services: {}\n", 'file0.yaml:4: the key "services" is already in line 1'),
        (SERVICE + "    environment: {1: a}\n", "file0.yaml:4: the key 1 is not text"),
        (SERVICE + "    environment: {true: a}\n", "file0.yaml:4: the key true is not text"),
        (SERVICE + "    command: *nothing\n", "file0.yaml:4: the alias *nothing has no anchor"),
        (SERVICE + "    command: &a [*a]\n", "file0.yaml:4: the alias *a is inside"),
        (SERVICE + "    <<: 5\n", "file0.yaml:4: <<: must be followed by a mapping"),
        (SERVICE + "    user: !secret x\n", "file0.yaml:4: the YAML tag !secret is not supported"),
        (SERVICE + "---\nservices: {}\n", "file0.yaml:4: begins a second YAML document"),
        (b"services:\n  a: \xff\n", "file0.yaml:2: is not UTF-8 text"),
        (b"\x7fELF\x01\x01\x00", "file0.yaml:1: has the control character '\\x7f'"),
        ("services: " + "[" * 5000, "file0.yaml:1: is"),
        ("services: " + "[" * 50_000, "file0.yaml:1: is nested more than 60"),
        (SERVICE + "---\n\n", "file0.yaml:4: begins a second YAML document"),
        (
            "x-p: &p a\n" + SERVICE + "    ports:\n    - *p\n",
            "file0.yaml:6: services.a.ports[0] is",
        ),
        ("services: " + "{a: " * 100 + "}" * 100, "file0.yaml:1: is nested more than 60"),
        (b"# " + b"x" * 5_000_000, "file0.yaml: is larger than 4 MiB"),
    ],
)
def test_broken_file(tmp_path: Path, text: str, expected: str) -> None:
    (problem,) = problems_of(tmp_path, text)
    assert problem.startswith(expected)


def test_what_is_wrong_before_a_syntax_error_is_said_too(tmp_path: Path) -> None:
    twice, syntax = problems_of(tmp_path, SERVICE + "    image: y\n    command: [\n")
    assert twice == 'file0.yaml:4: the key "image" is already in line 3'
    assert syntax.startswith("file0.yaml:5: is not valid YAML")


def test_alias_bomb_is_refused_at_once(tmp_path: Path) -> None:
    lines = ["x-0: &x0 [a, a, a, a, a, a, a, a, a, a]"]
    lines += [f"x-{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 30)]
    started = time.monotonic()
    (problem,) = problems_of(tmp_path, "\n".join(lines) + "\n" + SERVICE)
    assert "expands to more than" in problem
    assert time.monotonic() - started < 2


def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read") as raised:
        Settings.load(Flags(files=(Path("compose.yaml"),)), {}, tmp_path)
    assert "compose file not found" in raised.value.details[0]


def test_no_compose_file(tmp_path: Path) -> None:
    settings = Settings.load(Flags(), {}, tmp_path)
    with pytest.raises(ConfigurationError, match=f"No compose file in {tmp_path}") as raised:
        load(settings)
    assert raised.value.hint is not None
    assert raised.value.hint.startswith("owctl setup")


def test_a_broken_file_hides_what_the_others_would_be_said_to_lack(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "services: [", "services: {a: {depends_on: [b]}}")
    assert problem.startswith("file0.yaml:1: is not valid YAML")
