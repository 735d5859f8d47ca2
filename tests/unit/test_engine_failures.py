"""The engine's wordings, of several versions, and what owctl makes of them."""

import errno

import pytest

from owctl.engine.endpoint import Endpoint
from owctl.engine.failures import engine_answer, translate_error
from owctl.errors import (
    EngineError,
    EnginePermissionDenied,
    EngineUnavailable,
    ImageMissing,
    NotFound,
    PortTaken,
)

ENDPOINT = Endpoint(host="unix:///var/run/docker.sock", chosen_by="the default")


@pytest.mark.parametrize(
    ("text", "port", "protocol"),
    [
        # Engine 20.10
        ("driver failed programming external connectivity on endpoint x (8f2): Bind for "
         "0.0.0.0:5432 failed: port is already allocated", 5432, "tcp"),
        ("driver failed programming external connectivity on endpoint x (8f2): Error starting "
         "userland proxy: listen tcp4 127.0.0.1:8080: bind: address already in use", 8080, "tcp"),
        ("Error starting userland proxy: listen udp4 0.0.0.0:53: bind: address already in use",
         53, "udp"),
        # Engine 28
        ("failed to set up container networking: driver failed programming external connectivity "
         "on endpoint x (8f2): failed to bind host port for 0.0.0.0:3000:172.18.0.2:8080/tcp: "
         "address already in use", 3000, "tcp"),
        ("failed to bind host port 127.0.0.1:3001/tcp: address already in use", 3001, "tcp"),
        ("failed to bind host port [::]:3002/tcp: address already in use", 3002, "tcp"),
        # Podman
        ("rootlessport listen tcp 0.0.0.0:8081: bind: address already in use", 8081, "tcp"),
    ],
)  # fmt: skip
def test_a_port_in_use_is_named_with_its_holder(text, port, protocol):
    asked = []

    def holder(number: int, kind: str) -> str:
        asked.append((number, kind))
        return "container other-db-1 (project other)"

    error = engine_answer(500, text, "start web", holder)
    assert isinstance(error, PortTaken)
    assert error.message == (
        f"Cannot start web: port {port} of the host is in use "
        "by container other-db-1 (project other)"
    )
    assert asked == [(port, protocol)]
    assert error.details == (f"engine: {text}",)


def test_a_port_in_use_whose_number_is_not_said():
    error = engine_answer(500, "something: address already in use", "start web")
    assert isinstance(error, PortTaken)
    assert "owctl doctor" in (error.hint or "")


@pytest.mark.parametrize(
    ("status", "text", "kind", "message", "hint"),
    [
        (500, "write /var/lib/x: no space left on device", EngineError, "disk is full", "df -h"),
        (409, 'Conflict. The container name "/web-1" is already in use by container '
         '"0123456789abcdef0123". You have to remove (or rename) that container',
         EngineError, "the name web-1 is taken by another container (0123456789ab)",
         "docker rm web-1"),
        (409, "remove data: volume is in use - [abc, def]", EngineError,
         "the volume is in use by a container (abc, def)", "docker ps -a"),
        (403, "error while removing network: network net_default id 12ab has active endpoints",
         EngineError, "still attached to the network net_default", "network inspect net_default"),
        (400, 'invalid mount config for type "bind": bind source path does not exist: /a b/c',
         EngineError, "does not exist on the engine's machine: /a b/c", "create /a b/c"),
        (400, 'OCI runtime create failed: runc create failed: unable to start container process: '
         'exec: "pythn": executable file not found in $PATH: unknown', EngineError,
         "the image has no program pythn", "command:"),
        (400, 'failed to create task for container: exec: "/start.sh": stat /start.sh: no such '
         "file or directory: unknown", EngineError, "no program /start.sh", "entrypoint:"),
        (400, 'starting container process caused: exec: "/x.sh": permission denied: unknown',
         EngineError, "/x.sh in the image is not executable", "chmod"),
        (400, "unable to find user app: no matching entries in passwd file", EngineError,
         "no such user", "user:"),
        (500, 'could not select device driver "nvidia" with capabilities: [[gpu]]', EngineError,
         "no driver for the devices", "NVIDIA"),
        (500, "error while calling PortManager.AddPort(): cannot expose privileged port 80",
         EngineError, "below 1024", "1024"),
        (400, "all predefined address pools have been fully subnetted", EngineError,
         "no free subnet", "network prune"),
        (404, "No such image: web:1", ImageMissing, "the image web:1 is not on this machine",
         "--build"),
        (404, "No such container: web-1", NotFound, "No such container: web-1", "owctl status"),
        (500, "something new", EngineError, "the engine answered 500: something new", "doctor"),
    ],
)  # fmt: skip
def test_a_known_wording_says_what_to_try(status, text, kind, message, hint):
    error = engine_answer(status, text, "do it")
    assert type(error) is kind
    assert error.message.startswith("Cannot do it: ")
    assert message in error.message
    assert hint in (error.hint or "")
    assert text in f"{error.message} {error.details}"


@pytest.mark.parametrize(
    ("error", "kind", "part"),
    [
        (ConnectionResetError(errno.ECONNRESET, "reset"), EngineUnavailable, "went away"),
        (BrokenPipeError(errno.EPIPE, "pipe"), EngineUnavailable, "went away"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), EngineUnavailable, "nobody"),
        (TimeoutError("timed out"), EngineUnavailable, "no answer in time"),
        (PermissionError(errno.EACCES, "denied"), EnginePermissionDenied, "may not use"),
        (OSError(errno.EHOSTUNREACH, "no route"), EngineUnavailable, "no docker engine answers"),
    ],
)
def test_an_error_of_a_socket(error, kind, part):
    translated = translate_error(error, "do it", ENDPOINT)
    assert type(translated) is kind
    assert part in translated.message.lower()
    assert translated.hint


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "denied", "/backups/x"),
        OSError(errno.ENOSPC, "full"),
        ValueError("ours"),
        EngineError("said already"),
    ],
)
def test_what_is_not_the_engines_is_let_pass(error):
    assert translate_error(error, "do it", ENDPOINT) is None
