"""Podman behind docker's interface: recognised, spoken to and compared as it needs to be."""

import copy
from pathlib import Path
from typing import Any

import pytest

from owctl.compose.model import Build
from owctl.engine.build import _BuildFailed, _follow, command_environment
from owctl.engine.connection import Engine, is_podman, negotiate
from owctl.engine.containers import read_statistics
from owctl.engine.drift import differences_on_podman, for_podman
from owctl.engine.endpoint import Endpoint
from owctl.engine.naming import SPEC_HASH
from owctl.errors import EngineError

# Of Debian's Podman 4.3.1, shortened.
PODMAN: dict[str, Any] = {
    "Platform": {"Name": "linux/amd64/debian-12"},
    "Components": [
        {"Name": "Podman Engine", "Version": "4.3.1", "Details": {"APIVersion": "4.3.1"}},
        {"Name": "Conmon", "Version": "conmon version 2.1.6, commit: unknown"},
    ],
    "Version": "4.3.1",
    "ApiVersion": "1.41",
    "MinAPIVersion": "1.24",
}
# Of Debian's Engine 20.10.24, shortened.
DOCKER: dict[str, Any] = {
    "Platform": {"Name": ""},
    "Components": [{"Name": "Engine", "Version": "20.10.24+dfsg1"}, {"Name": "containerd"}],
    "Version": "20.10.24+dfsg1",
    "ApiVersion": "1.41",
    "MinAPIVersion": "1.12",
}
# Of a container on Podman 4.3.1, shortened: variables, a limit and a signal of its own.
INSPECT: dict[str, Any] = {
    "Image": "sha256:1",
    "Config": {
        "Env": ["container=podman", "TERM=xterm", "HOME=/root", "HOSTNAME=dc865520bb62"],
        "Labels": {SPEC_HASH: "c777", "mine": "1"},
        "StopSignal": "15",
    },
    "HostConfig": {"PidsLimit": 2048, "Runtime": "oci", "LogConfig": {"Type": "json-file"}},
    "NetworkSettings": {"Networks": {"p_default": {"NetworkID": "p_default"}}},
}
IMAGE = {"Id": "sha256:1", "Config": {"Labels": {"io.buildah.version": "1.28.2"}}}
WANTED: dict[str, Any] = {
    "Labels": {SPEC_HASH: "c777", "mine": "1"},
    "NetworkingConfig": {"EndpointsConfig": {"p_default": {"Aliases": ["web"]}}},
}


def test_it_is_told_from_docker():
    assert is_podman(PODMAN)
    assert not is_podman(DOCKER)
    assert not is_podman({"ApiVersion": "1.44", "Components": None})
    assert negotiate(PODMAN) == "1.41"


def with_image_labels(container: dict[str, Any]) -> dict[str, Any]:
    container = copy.deepcopy(container)
    container["Config"]["Labels"] |= IMAGE["Config"]["Labels"]
    return container


def test_what_podman_fills_in_is_no_difference():
    assert differences_on_podman(WANTED, with_image_labels(INSPECT), IMAGE) == ()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda c: c.update(Image="sha256:2"), ("image",)),
        (lambda c: c["Config"]["Labels"].update({SPEC_HASH: "other"}), ("configuration",)),
        (lambda c: c["Config"]["Labels"].pop(SPEC_HASH), ("configuration",)),
        (lambda c: c["Config"]["Labels"].update(mine="2"), ("label mine",)),
        (lambda c: c["NetworkSettings"].update(Networks={}), ("network p_default",)),
    ],
)
def test_what_differs(change, found):
    container = with_image_labels(INSPECT)
    change(container)
    assert differences_on_podman(WANTED, container, IMAGE) == found


def test_every_address_is_said_as_podman_understands_it():
    bindings = {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "80"}],
        "81/tcp": [{"HostIp": "127.0.0.1", "HostPort": "81"}],
    }
    body = {"Image": "x", "HostConfig": {"PortBindings": bindings, "Init": True}}
    sent = for_podman(body)
    assert sent["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "", "HostPort": "80"}],
        "81/tcp": [{"HostIp": "127.0.0.1", "HostPort": "81"}],
    }
    assert sent["HostConfig"]["Init"] is True
    assert bindings["80/tcp"][0]["HostIp"] == "0.0.0.0"


def test_a_rootless_one_that_counts_nothing_says_so():
    engine = Engine(Endpoint("unix:///nowhere.sock", "a test"), "1.41", PODMAN)
    engine._info = {"Rootless": True, "CgroupVersion": "1"}
    with pytest.raises(EngineError, match="rootless Podman counts nothing"):
        read_statistics(engine, "c" * 64)


def test_a_short_name_in_a_dockerfile_is_explained():
    def lines():
        yield 'Resolving "debian:bookworm-slim" to docker.io (enforced by caller)'
        raise _BuildFailed

    with pytest.raises(EngineError) as caught:
        _follow(lines(), "redis", "p-redis", None)
    assert "localhost/NAME" in (caught.value.hint or "")


def test_a_build_behind_ssh_goes_through_our_tunnel():
    class Tunnel:
        def engine_socket(self) -> Path:
            return Path("/tmp/x/engine")

    endpoint = Endpoint("ssh://box", "a test", tunnel=Tunnel())  # type: ignore[arg-type]
    engine = Engine(endpoint, "1.41", DOCKER)
    build = Build(context=Path("/p"))
    environment = command_environment(engine, build, {"DOCKER_CONTEXT": "x"})
    assert environment == {"DOCKER_HOST": "unix:///tmp/x/engine"}
