"""Secrets and configs: what is mounted, what is written, and what cannot be."""

from pathlib import Path

import pytest

from owctl.compose.model import Mount, WrittenFile
from tests.unit.compose_files import load_texts, problems_of

TOP = """
secrets:
  file: {file: ./secret.txt}
  variable: {environment: TOKEN}
  outside: {external: true}
configs:
  file: {file: ~/app.conf}
  inline: {content: "token is $TOKEN"}
"""
ENVIRON = {"TOKEN": "s3cret-token", "HOME": "/home/me"}


def service(lines: str) -> str:
    return f"services:\n  a:\n    image: x\n    {lines}\n{TOP.replace('outside: {external: true}', '')}"


def test_files_are_mounted_and_variables_written(tmp_path: Path) -> None:
    stack = load_texts(
        tmp_path,
        service(
            "secrets: [file, variable, {source: variable, target: t, mode: 0440, uid: '5'}]\n"
            "    configs: [file, {source: inline, target: /etc/app}]"
        ),
        environ=ENVIRON,
    )
    a = stack.services["a"]
    source = str(tmp_path / "secret.txt")
    assert a.mounts == (
        Mount("bind", "/run/secrets/file", source, read_only=True, create_host_path=False),
        Mount("bind", "/file", "/home/me/app.conf", read_only=True, create_host_path=False),
    )
    assert a.files == (
        WrittenFile("/run/secrets/variable", "s3cret-token"),
        WrittenFile("/run/secrets/t", "s3cret-token", mode=0o440, uid=5),
        WrittenFile("/etc/app", "token is s3cret-token", is_secret=False),
    )
    assert stack.spec["secrets"]["variable"] == {"name": "test_variable", "environment": "TOKEN"}
    assert "s3cret" not in repr(a)


def test_only_what_is_used_is_kept(tmp_path: Path) -> None:
    stack = load_texts(tmp_path, service("secrets: [file]"))
    assert list(stack.spec["secrets"]) == ["file"]
    assert "configs" not in stack.spec


def test_a_later_grant_of_the_same_target_wins(tmp_path: Path) -> None:
    stack = load_texts(
        tmp_path,
        service("secrets: [file]"),
        "services: {a: {secrets: [{source: variable, target: /run/secrets/file}]}}",
        environ=ENVIRON,
    )
    assert [file.target for file in stack.services["a"].files] == ["/run/secrets/file"]
    assert stack.services["a"].mounts == ()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("secrets: [variable]", "variable comes from the variable TOKEN, which is not set"),
        ("configs: [inline]\n    read_only: true", "inline cannot be written, because the service"),
        ("configs: [{source: inline, target: /t/x}]\n    tmpfs: /t", "inline would be hidden by"),
        ("secrets: [{source: file, mode: '0440'}]", ".mode must be a number such as 0440, without"),
        ("secrets: [{source: file, uid: me}]", '.uid is "me", but must be a number in quotes'),
        ("secrets: [fille]", "names the secret fille, which is not defined under secrets; did you"),
    ],
)
def test_what_cannot_be(tmp_path: Path, lines: str, expected: str) -> None:
    (problem,) = problems_of(tmp_path, service(lines))
    assert expected in problem


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("{external: true}", "file0.yaml:2: secrets.s.external needs Docker Swarm; say where"),
        ("{file: a, environment: B}", "file0.yaml:2: secrets.s needs one of file, environment"),
        ("{}", "file0.yaml:2: secrets.s needs one of file, environment, and only one"),
        ("{content: a}", "file0.yaml:2: secrets.s.content is not a key of compose files"),
        ("{file: a, driver: b}", "file0.yaml:2: secrets.s.driver is not supported by owctl; say"),
        ("a", "file0.yaml:2: secrets.s must be a mapping, not text"),
    ],
)
def test_definitions_that_cannot_be(tmp_path: Path, definition: str, expected: str) -> None:
    text = f"services: {{a: {{image: x}}}}\nsecrets: {{s: {definition}}}\n"
    assert problems_of(tmp_path, text)[0].startswith(expected)
