"""Several files become one document by compose's rules."""

from pathlib import Path

import pytest
import yaml

from owctl.compose.model import HealthCheck, Logging, Ulimit
from tests.unit.compose_files import load_texts, problems_of

BASE = """
services:
  a:
    image: one
    command: [one, two]
    environment: {A: '1', B: '2'}
    ports: ['1:1', '2:2']
    volumes: ['xx:/x', './y:/y']
    labels: {l: '1'}
    depends_on: [b]
    networks: [n]
    dns: 1.1.1.1
    healthcheck: {test: [CMD, one, two], retries: 3}
    logging: {driver: json-file, options: {max-size: 1m}}
    ulimits: {nofile: 5}
    x-owctl: {probe: {type: http, port: 1, path: /x}}
  b: {image: b}
networks: {n: , m: }
volumes: {xx: , zz: }
"""


def over(lines: str) -> str:
    return "services:\n  a:\n" + "".join(f"    {line}\n" for line in lines.splitlines())


def test_mappings_merge_and_lists_are_appended_without_doubles(tmp_path: Path) -> None:
    stack = load_texts(
        tmp_path,
        BASE,
        over(
            "environment: [B=3, C=4]\nports: ['2:2', '3:3']\nvolumes: ['zz:/x', '/w:/w']\n"
            "labels: [l=2, m=3]\ndns: [1.1.1.1, 8.8.8.8]\nnetworks: {m: {aliases: [q]}}\n"
            "depends_on: {b: {condition: service_healthy}}\nulimits: {nofile: {soft: 1, hard: 2}}"
        ),
    )
    a = stack.services["a"]
    assert a.environment == {"A": "1", "B": "3", "C": "4"}
    assert [(p.published, p.target) for p in a.ports] == [("1", 1), ("2", 2), ("3", 3)]
    assert [(m.source, m.target) for m in a.mounts] == [
        ("zz", "/x"),
        (str(tmp_path / "y"), "/y"),
        ("/w", "/w"),
    ]
    assert a.labels == {"l": "2", "m": "3"}
    assert a.dns == ("1.1.1.1", "8.8.8.8")
    assert [(n.network, n.aliases) for n in a.attachments] == [("m", ("q",)), ("n", ())]
    assert a.depends_on[0].condition == "service_healthy"
    assert a.ulimits == {"nofile": Ulimit(1, 2)}


def test_command_and_test_are_replaced(tmp_path: Path) -> None:
    stack = load_texts(tmp_path, BASE, over("command: [three]\nhealthcheck: {test: [CMD, three]}"))
    assert stack.services["a"].command == ("three",)
    assert stack.services["a"].healthcheck == HealthCheck(("CMD", "three"), retries=3)


def test_options_of_another_log_driver_are_dropped(tmp_path: Path) -> None:
    same = load_texts(tmp_path, BASE, over("logging: {options: {max-file: 2}}"))
    assert same.services["a"].logging == Logging("json-file", {"max-file": "2", "max-size": "1m"})
    other = load_texts(tmp_path, BASE, over("logging: {driver: local}"))
    assert other.services["a"].logging == Logging("local", {})


def test_reset_and_override(tmp_path: Path) -> None:
    stack = load_texts(
        tmp_path,
        BASE,
        over(
            "command: !reset null\nports: !override ['9:9']\nvolumes: !reset []\n"
            "environment: {A: !reset null}\nhealthcheck: !override {test: [NONE]}"
        ),
    )
    a = stack.services["a"]
    assert a.command is None
    assert [p.published for p in a.ports] == ["9"]
    assert a.mounts == ()
    assert a.environment == {"B": "2"}
    assert a.healthcheck == HealthCheck(("NONE",))


@pytest.mark.parametrize("loader", ["libyaml's", "PyYAML's own"])
def test_a_tag_makes_a_number_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: str
) -> None:
    if loader == "PyYAML's own":
        monkeypatch.delattr(yaml, "CSafeLoader")
    numbers = over("environment: {A: !override 017, B: 017, C: ! 017, D: !!str 017}")
    stack = load_texts(tmp_path, BASE, numbers)
    assert stack.services["a"].environment == {"A": "017", "B": "15", "C": "15", "D": "017"}


def test_an_anchor_means_what_it_stood_at_last(tmp_path: Path) -> None:
    twice = "x-a: &x one\nx-b: &x two\n"
    stack = load_texts(tmp_path, twice + "services: {a: {image: i, user: *x}}\n")
    assert stack.services["a"].user == "two"


def test_extensions_are_replaced_whole(tmp_path: Path) -> None:
    stack = load_texts(tmp_path, BASE, over("x-owctl: {probe: {type: redis}}"))
    probe = stack.services["a"].probe
    assert probe is not None
    assert (probe.type, probe.port, probe.path) == ("redis", None, None)


def test_a_name_without_value_takes_the_value_away(tmp_path: Path) -> None:
    stack = load_texts(tmp_path, BASE, over("environment: [A, B]"), environ={"B": "shell"})
    assert stack.services["a"].environment == {"A": None, "B": "shell"}


def test_forms_that_cannot_be_merged(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, BASE, over("ports: {a: b}\nimage: [x]"))
    assert problems == [
        f"file1.yaml:3: services.a.ports is a mapping here, but a list in {tmp_path}/file0.yaml:7: "
        "the two cannot be merged".replace(f"{tmp_path}/", ""),
        "file1.yaml:4: services.a.image is a list here, but text in file0.yaml:4: "
        "the two cannot be merged",
    ]


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    stack = load_texts(
        tmp_path,
        "x-a: &a {restart: always, user: a}\nx-b: &b {user: b, tty: true}\n"
        "services:\n  one:\n    user: own\n    <<: [*a, *b]\n    image: x\n"
        "  two: {<<: *b, image: x}\n",
    )
    one, two = stack.services["one"], stack.services["two"]
    assert (one.restart, one.user, one.tty) == ("always", "own", True)
    assert (two.restart, two.user) == ("no", "b")
