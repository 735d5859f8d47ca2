"""Every supported key of a service reaches the engine, and its change is seen."""

from pathlib import Path
from typing import Any

import pytest

from owctl.compose.model import Stack
from owctl.engine.create_config import container_config
from owctl.engine.drift import differences
from tests.unit.compose_files import load_texts

TOP = """
networks: {n: }
volumes: {data: }
secrets: {s: {file: ./s}, e: {environment: TOKEN}}
configs: {c: {content: text}}
"""
IMAGE = {"Id": "sha256:1", "Config": {}}


def stack_of(folder: Path, lines: str) -> Stack:
    text = f"services:\n  a:\n    image: x\n    {lines}\n  b: {{image: y}}\n{TOP}"
    return load_texts(folder, text, environ={"TOKEN": "t", "HOME": "/root"})


def body_of(stack: Stack) -> dict[str, Any]:
    service = stack.services["a"]
    return container_config(stack, service, number=1, image_id=str(IMAGE["Id"]), api_version="1.44")


def inspected(body: dict[str, Any]) -> dict[str, Any]:
    """Return what the engine would say of a container that was created so."""
    networks = (body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
    return {
        "Id": "f" * 64,
        "Name": "/test-a-1",
        "Image": IMAGE["Id"],
        "Config": body,
        "HostConfig": body["HostConfig"],
        "NetworkSettings": {"Networks": networks or {body["HostConfig"]["NetworkMode"]: {}}},
    }


@pytest.mark.parametrize(
    ("line", "difference"),
    [
        ("command: [a]", "command"),
        ("entrypoint: [a]", "entrypoint"),
        ("environment: {A: 1}", "environment A"),
        ("ports: ['8080:80']", "ports"),
        ("expose: [80]", "exposed ports"),
        ("volumes: ['data:/d']", "mount /d"),
        ("volumes: ['./d:/d']", "mount /d"),
        ("tmpfs: /t:size=1m", "mount /t"),
        ("secrets: [s]", "mount /run/secrets/s"),
        ("networks: {default: {aliases: [z]}}", "network test_default"),
        ("networks: [n]", "network test_default"),
        ("network_mode: host", "network host"),
        ("healthcheck: {test: x}", "healthcheck"),
        ("healthcheck: {disable: true}", "healthcheck"),
        ("healthcheck: {interval: 5s, start_interval: 1s}", "healthcheck"),
        ("restart: always", "restart"),
        ("deploy: {restart_policy: {condition: any}}", "restart"),
        ("extra_hosts: ['a:1.1.1.1']", "extra_hosts"),
        ("labels: {l: 1}", "label l"),
        ("user: '5'", "user"),
        ("working_dir: /w", "working directory"),
        ("hostname: h", "hostname"),
        ("init: true", "init"),
        ("tty: true", "tty"),
        ("stdin_open: true", "stdin"),
        ("stop_signal: SIGINT", "stop signal"),
        ("stop_grace_period: 1m", "stop grace period"),
        ("logging: {driver: local}", "logging"),
        ("ulimits: {nofile: 5}", "ulimits"),
        ("shm_size: 64m", "shm_size"),
        ("cap_add: [NET_ADMIN]", "cap_add"),
        ("cap_drop: [ALL]", "cap_drop"),
        ("security_opt: ['no-new-privileges:true']", "security_opt"),
        ("privileged: true", "privileged"),
        ("read_only: true", "read_only"),
        ("dns: 1.1.1.1", "dns"),
        ("group_add: [5]", "group_add"),
        ("devices: ['/dev/null:/dev/x']", "devices"),
        ("mem_limit: 1g", "memory limit"),
        ("mem_reservation: 1g", "memory reservation"),
        ("cpus: 0.5", "cpus"),
        ("pids_limit: 5", "pids limit"),
        ("deploy: {resources: {limits: {memory: 1g}}}", "memory limit"),
        ("deploy: {resources: {limits: {cpus: '0.5'}}}", "cpus"),
        ("deploy: {resources: {limits: {pids: 5}}}", "pids limit"),
        ("deploy: {resources: {reservations: {memory: 1g}}}", "memory reservation"),
        (
            "deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: 1}]}}}",
            "device reservations",
        ),
        ("gpus: all", "device reservations"),
        ("sysctls: {net.core.somaxconn: 1024}", "sysctls"),
        ("pid: host", "pid"),
        ("ipc: shareable", "ipc"),
        ("runtime: runsc", "runtime"),
        ("memswap_limit: 1g", "memswap_limit"),
        ("userns_mode: host", "userns_mode"),
        ("uts: host", "uts"),
        ("cgroup: host", "cgroup"),
        ("cgroup_parent: m", "cgroup_parent"),
        ("cpu_shares: 7", "cpu_shares"),
        ("cpuset: '0'", "cpuset"),
        ("cpu_quota: 5", "cpu_quota"),
        ("cpu_period: 6", "cpu_period"),
        ("dns_search: a", "dns_search"),
        ("dns_opt: [b]", "dns_opt"),
        ("oom_score_adj: 5", "oom_score_adj"),
        ("oom_kill_disable: true", "oom_kill_disable"),
        ("mem_swappiness: 10", "mem_swappiness"),
        ("storage_opt: {size: 1G}", "storage_opt"),
        ("volumes: ['data:/d:Z,nocopy']", "mount /d"),
    ],
)
def test_a_key_reaches_the_engine(tmp_path: Path, line: str, difference: str) -> None:
    before = inspected(body_of(stack_of(tmp_path, "")))
    wanted = body_of(stack_of(tmp_path, line))
    assert difference in differences(wanted, before, IMAGE)
    # And once it is there, it is no difference any more.
    assert differences(wanted, inspected(wanted), IMAGE) == ()


def test_a_named_volume_carries_its_label(tmp_path: Path) -> None:
    """The engine knows SELinux labels and propagation of Binds alone."""
    host = body_of(stack_of(tmp_path, "volumes: ['data:/d:Z,ro,nocopy', 'data:/e']"))["HostConfig"]
    assert host["Binds"] == ["test_data:/d:ro,Z,nocopy"]
    assert [mount["Target"] for mount in host["Mounts"]] == ["/e"]


def test_changed_content_is_seen_without_being_told(tmp_path: Path) -> None:
    line = "secrets: [e]\n    configs: [c]"
    wanted = body_of(stack_of(tmp_path, line))
    assert differences(wanted, inspected(wanted), IMAGE) == ()
    other = inspected(wanted)
    other["Config"] = {**wanted, "Labels": {**wanted["Labels"], "io.owctl.files-hash": "0"}}
    assert differences(wanted, other, IMAGE) == ("secrets or configs",)
    assert "text" not in str(wanted["Labels"])


def spec_of(folder: Path, line: str) -> dict[str, Any]:
    return dict(stack_of(folder, line).services["a"].spec)


def test_forms_that_compose_hashes(tmp_path: Path) -> None:
    """Each was once another than compose's, so that `docker compose up` made a new container."""
    assert spec_of(tmp_path, "networks: {default: {}}")["networks"] == {"default": {}}
    assert spec_of(tmp_path, "networks: [default]")["networks"] == {"default": None}
    develop = "develop: {watch: [{path: ./src, action: sync, target: /a}]}"
    assert spec_of(tmp_path, develop)["develop"] == {
        "watch": [
            {
                "path": str(tmp_path / "src"),
                "action": "sync",
                "target": "/a",
                "exec": {"command": None},
            }
        ]
    }
    assert spec_of(tmp_path, "scale: 2\n    deploy: {}")["deploy"]["replicas"] == 2
    assert "labels" not in spec_of(tmp_path, "deploy: {labels: []}")["deploy"]
    volume = spec_of(tmp_path, "volumes: ['/abs/../x/:/y']")["volumes"][0]
    assert volume["source"] == "/abs/../x/"
    volume = spec_of(tmp_path, "volumes: ['~x://y']")["volumes"][0]
    assert (volume["source"], volume["target"]) == ("/root/x", "/y")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2024-05-01", "2024-05-01 00:00:00 +0000 UTC"),
        ("2024-5-1", "2024-05-01 00:00:00 +0000 UTC"),
        ("2024-05-01 1:2:3.5", "2024-05-01 01:02:03.5 +0000 UTC"),
        ("2024-05-01T10:00:00+01:30", "2024-05-01 10:00:00 +0130 +0130"),
        ("2024-05-01T10:00:00", "2024-05-01T10:00:00"),
        ("2024-05-01 10:00:00Z", "2024-05-01 10:00:00Z"),
        ("2024-02-30", "2024-02-30"),
        ("'2024-05-01'", "2024-05-01"),
        ("!!str 2024-05-01", "2024-05-01"),
        ("1234-5", "1234-5"),
    ],
)
def test_unquoted_dates(tmp_path: Path, written: str, expected: str) -> None:
    stack = stack_of(tmp_path, f"environment: {{A: {written}}}")
    assert stack.services["a"].environment["A"] == expected
    changed = expected.endswith(("UTC", "+0130"))
    assert any("unquoted date" in warning for warning in stack.warnings) == changed
