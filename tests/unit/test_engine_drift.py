"""Drift, on what a real engine said of containers that a real compose made."""

import json
from pathlib import Path

import pytest

from owctl.compose.loader import load
from owctl.compose.model import Stack
from owctl.engine.create_config import container_config
from owctl.engine.drift import differences
from owctl.engine.naming import CONFIG_HASH, SPEC_HASH
from owctl.settings import Flags, Settings

DATA = Path(__file__).parents[1] / "data"
PLACES = (
    ("@PROJECT@", "recorded"),
    ("@IMAGE@", "owctl-demo-base:bookworm"),
    ("@PORT@", "18099"),
    ("@UDP_PORT@", "18098"),
)


@pytest.fixture
def recorded(tmp_path: Path) -> dict:
    text = (DATA / "every-key-inspect.json").read_text()
    return json.loads(text.replace("@FOLDER@", str(tmp_path)))


@pytest.fixture
def compose_file(tmp_path: Path) -> Path:
    text = (DATA / "every-key.yaml").read_text()
    for name, value in PLACES:
        text = text.replace(name, value)
    path = tmp_path / "compose.yaml"
    path.write_text(text)
    return path


def stack_of(path: Path) -> Stack:
    return load(Settings.load(Flags(), {}, path.parent))


def wanted(path: Path, service: str = "rich") -> dict:
    stack = stack_of(path)
    return container_config(
        stack, stack.services[service], number=1, image_id="sha256:0", api_version="1.41"
    )


def found(path: Path, recorded: dict, service: str = "rich", **changed: object) -> tuple[str, ...]:
    container = {**recorded["containers"][service], **changed}
    return differences(wanted(path, service), container, recorded["image"])


@pytest.mark.parametrize("service", ["rich", "plain", "host"])
def test_what_compose_made_has_not_drifted(compose_file, recorded, service):
    assert found(compose_file, recorded, service) == ()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("${LEVEL:-info}", "debug", ("environment LOG_LEVEL",)),
        ("      NOT_SET:\n", "      NOT_SET:\n      MORE: x\n", ("environment MORE",)),
        ('["sleep", "3600"]', '["sleep", "3601"]', ("command",)),
        ('entrypoint: ["/usr/bin/env"]', 'entrypoint: ["env"]', ("entrypoint",)),
        ("127.0.0.1::8081", "127.0.0.1::8082", ("exposed ports", "ports")),
        ("files:/data", "files:/elsewhere", ("mount /data", "mount /elsewhere")),
        ("./folder:/bind:ro", "./folder:/bind", ("mount /bind",)),
        ("size: 10m", "size: 11m", ("mount /memory",)),
        ("size=1m", "size=2m", ("mount /short",)),
        ("      default:\n      back:", "      back:", ("network recorded_default",)),
        ("aliases: [spare]", "aliases: [other]", ("network recorded_back",)),
        ("interval: 5s", "interval: 6s", ("healthcheck",)),
        ("    restart: unless-stopped\n", "", ("restart",)),
        ('purpose: "test"', 'purpose: "other"', ("label purpose",)),
        ("other=10.1.2.3", "other=10.1.2.4", ("extra_hosts",)),
        ('user: "0:0"', 'user: "1:1"', ("user",)),
        ("    working_dir: /srv\n", "", ("working directory",)),
        ("cap_drop: [ALL]", "cap_drop: [CHOWN]", ("cap_drop",)),
        ('    security_opt: ["no-new-privileges:true"]\n', "", ("security_opt",)),
        ("soft: 1000", "soft: 999", ("ulimits",)),
        ("shm_size: 32m", "shm_size: 33m", ("shm_size",)),
        ("    stop_signal: SIGINT\n", "", ("stop signal",)),
        ("max-size: 10m", "max-size: 11m", ("logging",)),
        ("limits: {memory: 100m, cpus", "limits: {memory: 90m, cpus", ("memory limit",)),
        ("pids: 100", "pids: 101", ("pids limit",)),
        ("    read_only: true\n", "", ("read_only",)),
        ("    hostname: bee\n", "", ("hostname",)),
        ("    tty: true\n", "", ("tty",)),
        ('    dns: ["127.0.0.53"]\n', "", ("dns",)),
    ],
)  # fmt: skip
def test_every_change_of_the_file_is_found_and_named(compose_file, recorded, old, new, expected):
    text = compose_file.read_text()
    assert old in text
    compose_file.write_text(text.replace(old, new, 1))
    assert found(compose_file, recorded) == expected


def test_no_value_is_in_a_difference(compose_file, recorded):
    compose_file.write_text(compose_file.read_text().replace("${LEVEL:-info}", "s3cret"))
    assert found(compose_file, recorded) == ("environment LOG_LEVEL",)


def test_another_image_is_found_first(compose_file, recorded):
    assert found(compose_file, recorded, Image="sha256:other")[0] == "image"


def test_what_the_image_says_is_no_difference(compose_file, recorded):
    image = json.loads(json.dumps(recorded["image"]))
    image["Config"] |= {
        "Env": ["PATH=/usr/bin", "LOG_LEVEL=warn"],
        "Cmd": ["bash"],
        "ExposedPorts": {"5432/tcp": {}},
        "Labels": {"maintainer": "someone"},
        "Volumes": {"/var/lib/data": {}},
        "Healthcheck": {"Test": ["CMD", "false"], "StartInterval": 1},
        "StopSignal": "SIGQUIT",
    }
    container = json.loads(json.dumps(recorded["containers"]["rich"]))
    config = container["Config"]
    config["Env"].append("PATH=/usr/bin")
    config["ExposedPorts"]["5432/tcp"] = {}
    config["Labels"]["maintainer"] = "someone"
    config["Healthcheck"]["StartInterval"] = 1
    inherited = {"Type": "volume", "Source": "a" * 64, "Target": "/var/lib/data"}
    container["HostConfig"]["Mounts"].append(inherited)
    assert differences(wanted(compose_file), container, image) == ()
    config["Env"].remove("PATH=/usr/bin")
    assert differences(wanted(compose_file), container, image) == ("environment PATH",)


def test_the_images_command_is_used_only_without_an_entrypoint_of_ours(compose_file, recorded):
    image = json.loads(json.dumps(recorded["image"]))
    image["Config"] |= {"Cmd": ["serve"], "Entrypoint": ["/start"]}
    container = json.loads(json.dumps(recorded["containers"]["plain"]))
    body = wanted(compose_file, "plain")
    del body["Cmd"]
    container["Config"] |= {"Cmd": ["serve"], "Entrypoint": ["/start"]}
    assert differences(body, container, image) == ()
    body["Entrypoint"] = ["/other"]
    container["Config"] |= {"Cmd": None, "Entrypoint": ["/other"]}
    assert differences(body, container, image) == ()


def test_other_spellings_of_the_same_are_no_difference(compose_file, recorded):
    container = json.loads(json.dumps(recorded["containers"]["rich"]))
    host = container["HostConfig"]
    host["CapAdd"] = ["CAP_NET_BIND_SERVICE"]
    host["SecurityOpt"] = ["no-new-privileges", "label=disable"]
    host["ShmSize"] = 32 << 20
    host["Binds"] = [*host["Binds"], "recorded_files:/data:rw"]
    host["Mounts"] = [each for each in host["Mounts"] if each["Target"] != "/data"]
    container["HostConfig"]["PortBindings"]["8081/tcp"][0]["HostPort"] = "0"
    container["Config"]["Labels"]["desktop.docker.io/wsl"] = "x"
    assert differences(wanted(compose_file), container, recorded["image"]) == ()


def test_what_the_engine_fills_in_is_no_difference(compose_file, recorded):
    container = json.loads(json.dumps(recorded["containers"]["plain"]))
    container["HostConfig"] |= {
        "LogConfig": {"Type": "journald", "Config": {"tag": "x"}},
        "ShmSize": 1 << 30,
        "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
    }
    container["Config"] |= {"StopSignal": "SIGTERM", "WorkingDir": "/"}
    assert differences(wanted(compose_file, "plain"), container, recorded["image"]) == ()


def test_the_same_spec_hash_is_a_shortcut_but_not_past_the_image(compose_file, recorded):
    container = json.loads(json.dumps(recorded["containers"]["rich"]))
    body = wanted(compose_file)
    container["Config"]["Labels"][SPEC_HASH] = body["Labels"][SPEC_HASH]
    container["Config"]["Tty"] = False  # would be found without it
    assert differences(body, container, recorded["image"]) == ()
    container["Image"] = "sha256:other"
    assert "image" in differences(body, container, recorded["image"])


def test_what_inspect_cannot_show_is_found_by_both_hashes(compose_file, recorded):
    container = json.loads(json.dumps(recorded["containers"]["rich"]))
    labels = container["Config"]["Labels"]
    body = wanted(compose_file)
    labels[SPEC_HASH] = "of another body"
    labels[CONFIG_HASH] = body["Labels"][CONFIG_HASH]
    assert differences(body, container, recorded["image"]) == ()  # another owctl made it
    labels[CONFIG_HASH] = "of another file"
    assert differences(body, container, recorded["image"]) == ("configuration",)
    container["Config"]["Image"] = "other:tag"
    assert differences(body, container, recorded["image"]) == ("image name",)


def test_a_network_made_anew_is_found(compose_file, recorded):
    container = recorded["containers"]["plain"]
    body = wanted(compose_file, "plain")
    held = container["NetworkSettings"]["Networks"]["recorded_default"]["NetworkID"]
    same = {"recorded_default": held}
    assert differences(body, container, recorded["image"], network_ids=same) == ()
    other = {"recorded_default": "f" * 64}
    assert differences(body, container, recorded["image"], network_ids=other) == (
        "network recorded_default",
    )
