"""An engine behind ssh: its address, and what goes wrong on the way, in words."""

from pathlib import Path, PurePosixPath

import pytest

from owctl.engine import ssh_tunnel
from owctl.engine.endpoint import SshAddress, parse_ssh_address
from owctl.engine.ssh_failures import Far, connection_failure, forward_failure
from owctl.errors import EnginePermissionDenied, EngineUnavailable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ssh://box", SshAddress("box")),
        ("ssh://me@box/", SshAddress("box", "me")),
        ("ssh://me@box:2222", SshAddress("box", "me", 2222)),
        ("ssh://me@[fd00::1]:22", SshAddress("fd00::1", "me", 22)),
        (
            "ssh://me@box/run/user/1000/podman/podman.sock",
            SshAddress("box", "me", None, PurePosixPath("/run/user/1000/podman/podman.sock")),
        ),
    ],
)
def test_an_address(text, expected):
    assert parse_ssh_address(text, "DOCKER_HOST") == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ssh://", "names no host"),
        ("ssh://box:port", "Port"),
        ("ssh://me:secret@box", "holds a password"),
        ("ssh://box?x=1", "goes on after the path"),
        ("ssh://-oProxyCommand=sh", "dash"),
        ("ssh://-l@box", "dash"),
    ],
)
def test_an_address_that_is_wrong(text, why):
    with pytest.raises(EngineUnavailable, match=why) as caught:
        parse_ssh_address(text, "DOCKER_HOST")
    assert "secret" not in caught.value.message
    assert "correct DOCKER_HOST" in (caught.value.hint or "")


def far(text: str = "ssh://me@box:2222") -> Far:
    return Far(parse_ssh_address(text, "DOCKER_HOST"), "DOCKER_HOST")


@pytest.mark.parametrize(
    ("lines", "socket"),
    [
        (["unix:///run/user/1000/docker.sock"], "/run/user/1000/docker.sock"),
        (["a banner", "unix:///var/run/docker.sock"], "/var/run/docker.sock"),
        (["sh: 1: docker: not found"], "/var/run/docker.sock"),
        ([], "/var/run/docker.sock"),
    ],
)
def test_the_socket_is_the_one_that_docker_uses_there(lines, socket):
    there = far()
    there.take(lines)
    assert there.socket == PurePosixPath(socket)


def test_a_socket_that_was_named_is_not_looked_for():
    there = far("ssh://box/a.sock")
    there.take(["unix:///other.sock"])
    assert there.socket == PurePosixPath("/a.sock")


def test_an_engine_that_has_no_socket_there():
    with pytest.raises(EngineUnavailable, match="no socket of that machine"):
        far().take(["tcp://10.0.0.1:2376"])


@pytest.mark.parametrize(
    ("said", "why", "hint"),
    [
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
         "another host key", "ssh-keygen -R '[box]:2222'"),
        ("No ED25519 host key is known for [box]:2222 and you have requested strict checking.",
         "is not known", "ssh -p 2222 me@box true"),
        ("me@box: Permission denied (publickey).", "does not let this user in", "ssh-add"),
        ("ssh: Could not resolve hostname box: Name or service not known", "unknown", "~/.ssh/config"),
        ("ssh: connect to host box port 2222: Connection refused", "nothing listens", "port"),
        ("ssh: connect to host box port 2222: Connection timed out", "does not answer", "firewall"),
        ("/root/.ssh/config: line 1: Bad configuration option: x", "configuration", "~/.ssh/config"),
        ("Control socket connect(/tmp/x/control): Connection refused", "was lost", "repeat"),
        ("something new", "something new", "without asking"),
    ],
)  # fmt: skip
def test_what_ssh_says(said, why, hint):
    error = connection_failure(far(), said.splitlines(), 255)
    assert why in error.message
    assert hint in (error.hint or "")
    assert error.exit_code == 5


@pytest.mark.parametrize(
    ("state", "kind", "hint"),
    [
        ("missing", EngineUnavailable, "say where"),
        ("no-socket", EngineUnavailable, "say where"),
        ("forbidden", EnginePermissionDenied, "usermod -aG docker me"),
        ("answers", EngineUnavailable, "AllowTcpForwarding"),
        ("there", EngineUnavailable, "docker info"),
        ("", EngineUnavailable, "docker info"),
    ],
)
def test_a_socket_that_lets_nobody_through(state, kind, hint):
    error = forward_failure(far(), "reach the Docker engine", state)
    assert type(error) is kind
    assert hint in (error.hint or "")


def test_a_long_temporary_folder_is_not_for_sockets(monkeypatch):
    monkeypatch.setattr(ssh_tunnel.tempfile, "gettempdir", lambda: "/" + "x" * 80)
    assert ssh_tunnel._parent_of_sockets() == Path("/tmp")
    monkeypatch.setattr(ssh_tunnel.tempfile, "gettempdir", lambda: "/short")
    assert ssh_tunnel._parent_of_sockets() == Path("/short")
