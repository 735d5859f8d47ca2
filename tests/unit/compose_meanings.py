"""Compose files whose meaning is easily missed: the same to owctl as to docker compose 2.26.

Each has its texts (file0.yaml, file1.yaml …), variables, and where the meaning shows in what
``config`` prints: keys and indexes, then the value there.
"""

from dataclasses import dataclass, field
from typing import Any

ABSENT = "nothing is there"


@dataclass(frozen=True)
class Meaning:
    """Texts, and the value that is printed at a place; None for what both refuse."""

    name: str
    texts: tuple[str, ...]
    place: tuple[str | int, ...] = ()
    value: Any = None
    variables: dict[str, str] = field(default_factory=dict)
    refused: str = ""


def _service(line: str) -> str:
    return f"services:\n  s:\n    image: x\n    {line}\n"


def _one(name: str, line: str, place: tuple[str | int, ...], value: Any, **more: Any) -> Meaning:
    return Meaning(name, (_service(line),), ("services", "s", *place), value, **more)


def _two(name: str, first: str, second: str, place: tuple[str | int, ...], value: Any) -> Meaning:
    later = f"services:\n  s:\n    {second}\n"
    return Meaning(name, (_service(first), later), ("services", "s", *place), value)


def _refused(name: str, text: str, why: str) -> Meaning:
    return Meaning(name, (text,), refused=why)


def _volume(options: str, device: str) -> Meaning:
    text = _service("volumes: ['vol:/d']") + f"volumes: {{vol: {{{options}}}}}\n"
    return Meaning(options, (text,), ("volumes", "vol", "driver_opts", "device"), device)


def _pools(name: str, first: str, second: str, value: Any) -> Meaning:
    texts = (
        _service("networks: [n]") + f"networks: {{n: {{ipam: {{config: {first}}}}}}}\n",
        f"networks: {{n: {{ipam: {{config: {second}}}}}}}\n",
    )
    return Meaning(name, texts, ("networks", "n", "ipam", "config"), value)


def _profiles(profiles: str, active: str | None, expected: object) -> Meaning:
    variables = {} if active is None else {"COMPOSE_PROFILES": active}
    text = f"services: {{a: {{image: x}}, b: {{image: x, profiles: {profiles}}}}}\n"
    name = f"profiles {profiles} with {active}"
    return Meaning(name, (text,), ("services", "b", "image"), expected, variables)


_COMMANDS = {
    "npm i && npm start": ["npm", "i"],
    "curl http://h/?a=1&b=2": ["curl", "http://h/?a=1"],
    "a;b": ["a"],
    "run 2>&1": ["run"],
    "run 2x>f": ["run"],
    "run x2>f": ["run", "x2"],
    "\"a;b\" 'c|d' e\\&f": ["a;b", "c|d", "e&f"],
    'sh -c "echo \\$$HOME; printf a\\tb"': ["sh", "-c", "echo $$HOME; printf atb"],
    "'a\\b' c\\d": ["a\\b", "cd"],
    "echo $$(a b) `c d`": ["echo", "$$(a b)", "`c d`"],
    "a '' \"\" b": ["a", "", "", "b"],
    "x\"y z\"'w'": ["xy zw"],
    "Host(`a`)": None,
    "a (b)": None,
    "a 'b": None,
    "a \\": None,
}
# What an unquoted scalar is as a variable's value; None: refused.
_SCALARS = {
    "08": "8",
    "-09": "-9",
    "0_8": "8",
    "017": "15",
    "0o17": "15",
    "1_000": "1000",
    "685_230.15": "685230.15",
    "1_e3": "1000",
    "1e400": "1e400",
    "18446744073709551615": "18446744073709551615",
    "18446744073709551616": "1.8446744073709552e+19",
    "-9223372036854775809": "-9.223372036854776e+18",
    "12:30": "12:30",
    "'08'": "08",
    ".inf": None,
    "-.Inf": None,
    ".nan": None,
    "!!bool yes": None,
}
_TCP = {"target": 80, "published": "8080", "protocol": "tcp"}

MEANINGS: tuple[Meaning, ...] = (
    *(
        _refused(text, _service(f"command: {text!r}"), "services.s.command cannot be split")
        if words is None
        else _one(text, f"command: {text!r}".replace("\\\\", "\\"), ("command",), words)
        for text, words in _COMMANDS.items()
        if "'" not in text and "\\" not in text
    ),
    *(
        Meaning(
            text,
            (f"services:\n  s:\n    image: x\n    entrypoint: >-\n      {text}\n",),
            ("services", "s", "entrypoint"),
            words,
            refused="" if words is not None else "services.s.entrypoint cannot be split",
        )
        for text, words in _COMMANDS.items()
    ),
    *(
        _refused(text, _service(f"environment: {{A: {text}}}"), "services.s.environment.A")
        if value is None and not text.startswith("!!")
        else _refused(text, _service(f"environment: {{A: {text}}}"), "cannot be read as")
        if value is None
        else _one(text, f"environment: {{A: {text}}}", ("environment", "A"), value)
        for text, value in _SCALARS.items()
    ),
    _one("a tag and nothing", "environment: {A: ! }", ("environment", "A"), None),
    _one(
        "a named volume's label",
        "volumes: ['vol:/d:Z,ro']\nvolumes: {vol: }",
        ("volumes", 0),
        {
            "type": "volume",
            "source": "vol",
            "target": "/d",
            "read_only": True,
            "bind": {"selinux": "Z"},
            "volume": {},
        },
    ),
    _one(
        "a named volume's propagation",
        "volumes: ['vol:/d:rshared,nocopy']\nvolumes: {vol: }",
        ("volumes", 0),
        {
            "type": "volume",
            "source": "vol",
            "target": "/d",
            "bind": {"propagation": "rshared"},
            "volume": {"nocopy": True},
        },
    ),
    _one(
        "options of other programs",
        "volumes: ['/a:/b:noexec,U,ro']",
        ("volumes", 0),
        {
            "type": "bind",
            "source": "/a",
            "target": "/b",
            "read_only": True,
            "bind": {"create_host_path": True},
        },
    ),
    _volume("driver: local, driver_opts: {type: none, o: bind, device: ./d}", "FOLDER/d"),
    _volume("driver: local, driver_opts: {type: none, o: bind, device: ~/d}", "/root/d"),
    _volume("driver_opts: {type: none, o: bind, device: ./d}", "./d"),
    _volume("driver: local, driver_opts: {type: none, o: 'bind,ro', device: ./d}", "./d"),
    _volume("driver: local, driver_opts: {type: nfs, o: addr=h, device: ':/d'}", ":/d"),
    _refused(
        "a mode in quotes",
        _service("volumes: [{type: tmpfs, target: /t, tmpfs: {mode: '0777'}}]"),
        "tmpfs.mode must be a number",
    ),
    _profiles('["${P:-}"]', None, "x"),
    _profiles('[""]', "", "x"),
    _profiles('[""]', "b,", "x"),
    _profiles('[""]', "b", ABSENT),
    _one("no DNS server", "dns: ${DNS:-}", ("dns",), ABSENT),
    _one("one DNS server", "dns: ['${DNS:-}', 9.9.9.9]", ("dns",), ["9.9.9.9"]),
    _refused("an empty env_file", _service("env_file: '${F:-}'"), "env_file has an empty path"),
    _refused("an empty secret", _service("secrets: ['${F:-}']"), "names the secret"),
    _refused("an empty config", _service("configs: ['${F:-}']"), "names the config"),
    _refused("an empty host", _service("extra_hosts: ['${F:-}']"), "which is not name:address"),
    _pools(
        "another subnet replaces",
        "[{subnet: 10.0.0.0/16}]",
        "[{subnet: 10.1.0.0/16, gateway: 10.1.0.1}]",
        [{"subnet": "10.1.0.0/16", "gateway": "10.1.0.1"}],
    ),
    _pools(
        "the same subnet is merged",
        "[{subnet: 10.0.0.0/16, ip_range: 10.0.1.0/24}]",
        "[{subnet: 10.0.0.0/16, gateway: 10.0.0.1}]",
        [
            {"subnet": "10.0.0.0/16", "ip_range": "10.0.1.0/24", "gateway": "10.0.0.1"},
        ],
    ),
    _two(
        "a short dependency is required",
        "depends_on: {u: {condition: service_healthy, required: false}}",
        "depends_on: [u]\n  u: {image: y}",
        ("depends_on", "u"),
        {"condition": "service_started", "required": True},
    ),
    *(
        _two(
            f"{key} reset in the first file",
            f"{key}: !reset {{}}",
            f"{key}: {given}",
            (key,),
            value,
        )
        for key, given, value in (
            ("environment", "{A: 1}", {"A": "1"}),
            ("labels", "{A: 1}", {"A": "1"}),
            ("ulimits", "{nproc: 6}", {"nproc": 6}),
            ("healthcheck", "{interval: 1s}", {"interval": "1s"}),
        )
    ),
    _two("reset of a list's variable", "environment: [A=1]", "environment: {A: !reset null}",
         ("environment",), {"A": "1"}),
    _two("reset of a variable", "environment: {A: 1, B: 2}", "environment: {A: !reset null}",
         ("environment",), {"B": "2"}),
    _two("nothing over a value", "restart: always", "restart:", ("restart",), "always"),
    _two("nothing over an image", "user: '1'", "image:", ("image",), "x"),
    _one("a port everywhere, twice", "ports: ['8080:80', '0.0.0.0:8080:80']", ("ports",),
         [{"mode": "ingress", "host_ip": "0.0.0.0", **_TCP}]),
    _one("a port in two modes", "ports: ['8080:80', {target: 80, published: 8080, mode: host}]",
         ("ports",), [{"mode": "ingress", **_TCP}, {"mode": "host", **_TCP}]),
    _one("a port with zeros", "ports: ['08080:080']", ("ports",), [{"mode": "ingress", **_TCP}]),
    _one("a range of one", "ports: ['8080-8080:80-80']", ("ports",), [{"mode": "ingress", **_TCP}]),
    Meaning("!!merge", ("x-a: &a {image: x}\nservices:\n  s:\n    !!merge <<: *a\n",),
            ("services", "s", "image"), "x"),
    _one("a restart condition of the engine's", "deploy: {restart_policy: {condition: always}}",
         ("deploy", "restart_policy"), {"condition": "always"}),
    _one("a mode of Swarm's", "deploy: {mode: global}", ("deploy", "mode"), "global"),
    *(
        Meaning(
            f"an inactive service with {line}",
            (_service("user: '1'") + f"  b: {{profiles: [p], {line}}}\n",),
            ("services", "b"),
            ABSENT,
        )
        for line in (
            "image: ''",
            "image: x, env_file: no.env",
            "image: x, volumes: ['nope:/x']",
            "image: x, networks: [nope]",
            "image: x, secrets: [nope]",
            "image: x, depends_on: [nope]",
            "image: x, depends_on: [b]",
            "image: x, pid: host",
            "image: x, network_mode: 'service:nope'",
        )
    ),
    Meaning(
        "an optional dependency on an inactive service",
        (_service("depends_on: {u: {condition: service_started, required: false}}")
         + "  u: {image: y, profiles: [p]}\n",),
        ("services", "s", "depends_on", "u", "required"),
        False,
    ),
    _one("a dollar in a name", 'environment: {"$X": a}', ("environment", "$$X"), "a"),
    _refused(
        "a watch without target",
        _service("build: .\n    develop: {watch: [{path: ., action: sync}]}"),
        "needs the key target",
    ),
)  # fmt: skip
