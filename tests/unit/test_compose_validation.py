"""What is wrong in a compose file is named with its line, all of it at once."""

from pathlib import Path

import pytest

from owctl.errors import ConfigurationError
from tests.unit.compose_files import load_files, load_texts, problems_of


def in_service(line: str) -> str:
    return f"services:\n  a:\n    image: x\n    {line}\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("imgae: y", "services.a.imgae is not a key of compose files; did you mean image?"),
        ("volumes_from: [b]", "services.a.volumes_from is not supported by owctl; use a named"),
        ("links: [b]", "services.a.links is not supported by owctl; services reach each other"),
        (
            "annotations: {a: 1}",
            "services.a.annotations is not supported by owctl; run this file with",
        ),
        ("build: {context: ., tags: [a]}", "services.a.build.tags is not supported by owctl"),
        ("build: https://x/y.git", "services.a.build.context is remote"),
        ("build: {platforms: [a, b]}", "services.a.build.platforms has 2 platforms"),
        ("user: 1000", "services.a.user must be text, not a number: put it in quotes"),
        ("user: true", "services.a.user must be text, not true or false: put it in quotes"),
        ("ports: 80", "services.a.ports must be a list"),
        ("ports: [a]", 'services.a.ports[0] is "a", but must be like 8080:80'),
        ("ports: ['70000:80']", "services.a.ports[0]: 70000 is not a port"),
        ("ports: ['1-2:1-3']", 'services.a.ports[0] is "1-2:1-3": the two ranges'),
        ("ports: ['localhost:1:1']", 'services.a.ports[0]: "localhost" is not an IP address'),
        ("ports: [{published: 1}]", "services.a.ports[0] needs the key target"),
        ("expose: [x]", 'services.a.expose[0] is "x", but must be a port'),
        ("volumes: [aa:b]", 'services.a.volumes[0] mounts at "b", which is not an absolute path'),
        ("volumes: ['a/b:/c']", 'services.a.volumes[0]: "a/b" is neither a volume'),
        ("volumes: [{target: /b}]", "services.a.volumes[0] needs the key type"),
        ("volumes: ['d:/b']", 'services.a.volumes[0] is "d:/b", which begins like a Windows drive'),
        ("user: 2020-01-01", "services.a.user must be text, not a date (put it in quotes)"),
        ("healthcheck: {interval: 1d}", 'services.a.healthcheck.interval is "1d", but must be'),
        ("secrets: [s]", "services.a.secrets names the secret s, which is not defined under"),
        ("secrets: {s: }", "services.a.secrets must be a list, not a mapping"),
        ("configs: [{target: /x}]", "services.a.configs[0] needs the key source"),
        (
            "mem_limit: 1g\n    deploy: {resources: {limits: {cpus: 1}}}",
            "services.a has different values in mem_limit and deploy.resources.limits.memory; set",
        ),
        (
            "mem_reservation: 1g\n    deploy: {resources: {reservations: {cpus: 1}}}",
            "services.a has different values in mem_reservation and deploy.resources.reservations",
        ),
        ("scale: 2\n    deploy: {replicas: 3}", "services.a has different values in scale and"),
        ("volumes: ['data:/b']", "services.a.volumes names the volume data, which is not defined"),
        ("networks: [front]", "services.a.networks names the network front, which is not"),
        ("network_mode: service:b", "services.a.network_mode service:b is not supported by owctl"),
        ("environment: {A: [1]}", "services.a.environment.A must be text, not a list"),
        ("environment: text", "services.a.environment must be a mapping, or a list of NAME=value"),
        ("command: {a: b}", "services.a.command must be text or a list, not a mapping"),
        (
            "command: sh -c 'x",
            "services.a.command cannot be split into words: a quote",
        ),
        ("healthcheck: {interval: 10}", "services.a.healthcheck.interval is 10, but needs a unit"),
        ("healthcheck: {interval: 1y}", 'services.a.healthcheck.interval is "1y", but must be'),
        ("healthcheck: {test: [curl]}", "services.a.healthcheck.test must begin with CMD"),
        ("mem_limit: 1x", 'services.a.mem_limit is "1x", but must be a size'),
        ("cpus: many", 'services.a.cpus is "many", but must be a number'),
        ("tty: perhaps", "services.a.tty must be true or false"),
        ("restart: sometimes", 'services.a.restart is "sometimes", but must be no, always'),
        ("pull_policy: x", 'services.a.pull_policy is "x", but must be always'),
        ("depends_on: [c]", "services.a depends on c, which is not a service"),
        (
            "depends_on: {c: {condition: ok, x: 1}}",
            'services.a.depends_on.c.condition is "ok", but must',
        ),
        ("extra_hosts: [x]", 'services.a.extra_hosts has "x", which is not name:address'),
        ("env_file: missing.env", "services.a.env_file: "),
        ("x-owctl: {probe: {type: ftp}}", 'services.a.x-owctl.probe.type is "ftp", but must be'),
        ("x-owctl: {prob: {}}", "services.a.x-owctl.prob is not a key of compose files; did you"),
        (
            "deploy: {resources: {limits: {memory: -1}}}",
            "services.a.deploy.resources.limits.memory",
        ),
        ("deploy: {mode: globe}", 'services.a.deploy.mode is "globe", but must be one of'),
    ],
)
def test_service_problem(tmp_path: Path, line: str, expected: str) -> None:
    problems = problems_of(tmp_path, in_service(line))
    assert problems[0].startswith(f"file0.yaml:4: {expected}"), problems


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("services: []", "1: services must be a mapping, not a list"),
        ("services: {}", "1: there are no services"),
        ("name: x", "1: there are no services"),
        ("services: {a: }", "1: services.a must be a mapping, not empty"),
        ("services: {a: {}}", "1: services.a has neither image nor build"),
        ("services: {'a b': {image: x}}", '1: the service name "a b" may have only'),
        ("include: [a]\nservices: {a: {image: x}}", "1: include is not supported by owctl; name"),
        ("servises: {}\nservices: {a: {image: x}}", "1: servises is not a key of compose files"),
        ("services: {a: {image: x}}\nmodels: {}", "2: models is not supported by owctl; run"),
        ("services: {a: {image: x}}\nvolumes: {v: {external: true, driver: x}}", "2: volumes.v is"),
        ("name: A\nservices: {a: {image: x}}", '1: name is "A", which cannot be used'),
    ],
)
def test_document_problem(tmp_path: Path, text: str, expected: str) -> None:
    problems = problems_of(tmp_path, text, project_name=None)
    assert problems[0].startswith(f"file0.yaml:{expected}"), problems


def test_everything_is_reported_in_one_go(tmp_path: Path) -> None:
    (tmp_path / "bad.env").write_text("A=1\nB\tC=2\n")
    problems = problems_of(
        tmp_path,
        "x-port: &port\n  target: many\n"
        "services:\n  a:\n    image: x\n    user: 5\n    tyt: true\n    env_file: bad.env\n"
        "    environment:\n      A: ${MISSING:?run setup}\n    ports: [*port]\n",
        "services:\n  a:\n    links: [b]\n    command: {}\n  b:\n    depends_on: [c]\n",
    )
    assert problems == [
        "bad.env:2: is not of the form NAME=value",
        'file0.yaml:2: services.a.ports[0].target is "many", but must be a whole number',
        "file0.yaml:6: services.a.user must be text, not a number: put it in quotes",
        "file0.yaml:7: services.a.tyt is not a key of compose files; did you mean tty?",
        "file0.yaml:10: required variable MISSING is missing a value: run setup",
        "file1.yaml:3: services.a.links is not supported by owctl; services reach each other by "
        "name; use depends_on for the order, or run this file with docker compose",
        "file1.yaml:4: services.a.command must be text or a list, not a mapping",
        "file1.yaml:5: services.b has neither image nor build",
        "file1.yaml:6: services.b depends on c, which is not a service",
    ]


def test_missing_required_variables_point_to_setup(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_texts(tmp_path, in_service("environment: ['A=${B:?}', 'C=${B:?}', 'D=${E?why}']"))
    assert raised.value.hint == "owctl setup (fills in B, E), or set it in .env"
    assert [str(p).split(": ", 1)[1] for p in raised.value.problems] == [
        "required variable B is missing a value",
        "required variable E is missing a value: why",
    ]


def test_a_circle_of_dependencies(tmp_path: Path) -> None:
    text = "services:\n" + "".join(
        f"  {name}:\n    image: x\n    depends_on:\n      - {other}\n"
        for name, other in (("a", "b"), ("b", "c"), ("c", "a"))
    )
    assert problems_of(tmp_path, text) == [
        "file0.yaml:5: services depend on each other in a circle: a → b → c → a"
    ]


def test_profiles(tmp_path: Path) -> None:
    text = """
services:
  a: {image: x}
  tool: {image: x, profiles: [tools], volumes: ['data:/d']}
  other: {image: x, profiles: [more]}
  needs: {image: x, profiles: [broken], depends_on: [tool]}
  may: {image: x, depends_on: {tool: {condition: service_started, required: false}}}
volumes: {data: }
"""
    assert list(load_texts(tmp_path, text).services) == ["a", "may"]
    assert load_texts(tmp_path, text).services["may"].depends_on == ()
    assert load_texts(tmp_path, text).volumes == {}
    stack = load_texts(tmp_path, text, profiles=("tools",))
    assert list(stack.services) == ["a", "tool", "may"]
    assert [d.service for d in stack.services["may"].depends_on] == ["tool"]
    assert list(stack.volumes) == ["data"]
    assert len(load_texts(tmp_path, text, profiles=("*",)).services) == 5
    assert problems_of(tmp_path, text, profiles=("broken",)) == [
        "file0.yaml:6: services.needs depends on tool, which belongs to a profile that is not active"
    ]


def test_an_inactive_service_is_checked_too(tmp_path: Path) -> None:
    assert len(problems_of(tmp_path, in_service("profiles: [x]\n    ports: 1"))) == 1


def test_unset_variables_are_warned_of_once(tmp_path: Path) -> None:
    (tmp_path / "v.env").write_text("A=$FROM_FILE\n")
    stack = load_texts(
        tmp_path,
        "version: '3'\n" + in_service("environment: ['A=$ONE', 'B=${ONE}$TWO', 'C=${THREE:-}']"),
        environment_files=(Path("v.env"),),
    )
    blank = "The {} variable is not set. Defaulting to a blank string."
    assert stack.warnings[:3] == tuple(blank.format(n) for n in ("FROM_FILE", "ONE", "TWO"))
    assert stack.warnings[3].endswith("the key version is obsolete and has no effect; remove it.")
    assert len(stack.warnings) == 4


def test_problems_name_files_as_the_user_would(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.yaml").write_text("services: []")
    with pytest.raises(ConfigurationError) as raised:
        load_files(tmp_path, "sub/c.yaml")
    assert raised.value.problems[0].file == "sub/c.yaml"
