"""Reaching an engine: what answers, what does not, and which API version is spoken."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from owctl.doctor.engine import check_engine
from owctl.engine.connection import Engine, negotiate
from owctl.engine.images import PullProgress, pull_image
from owctl.errors import EngineError, EngineUnavailable, ImageMissing

VERSION = {"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": "20.10.24"}


def http(document: object, status: str = "200 OK") -> bytes:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{head}\r\nConnection: close\r\n\r\n".encode() + body


def chunked(*documents: object) -> bytes:
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked"
    chunks = [json.dumps(document).encode() + b"\n" for document in documents]
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return f"{head}\r\nConnection: close\r\n\r\n".encode() + body + b"0\r\n\r\n"


@contextmanager
def listening(listener: socket.socket, answer: Callable[[str], bytes]) -> Iterator[None]:
    """Answer each connection's request line with bytes, then close it."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                received = connection.recv(65536)
                is_tls = received[:1] == b"\x16"
                while not is_tls and b"\r\n\r\n" not in received:
                    if not (more := connection.recv(65536)):
                        break
                    received += more
                connection.sendall(answer(received.split(b"\r\n")[0].decode("latin-1")))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@contextmanager
def engine_that_says(folder: Path, answer: Callable[[str], bytes]) -> Iterator[dict[str, str]]:
    path = folder / "engine.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    with listening(listener, answer):
        yield {"DOCKER_HOST": f"unix://{path}", "DOCKER_CONFIG": str(folder)}


@pytest.mark.parametrize(
    ("offered", "minimum", "spoken"),
    [("1.41", "1.12", "1.41"), ("1.44", "1.24", "1.44"), ("1.60", "1.44", "1.52")],
)
def test_the_version_is_the_latest_that_both_know(offered, minimum, spoken):
    assert negotiate({"ApiVersion": offered, "MinAPIVersion": minimum}) == spoken


def test_an_engine_that_is_too_old():
    with pytest.raises(EngineError, match=r"19\.03.* is too old") as caught:
        negotiate({"ApiVersion": "1.40", "Version": "19.03"})
    assert "20.10" in (caught.value.hint or "")


def test_an_engine_that_is_too_new():
    with pytest.raises(EngineError, match=r"nothing older than API 1\.60") as caught:
        negotiate({"ApiVersion": "1.70", "MinAPIVersion": "1.60", "Version": "40"})
    assert "update owctl" in (caught.value.hint or "")


def test_connect_asks_for_the_version(tmp_path):
    with (
        engine_that_says(tmp_path, lambda _: http(VERSION)) as environ,
        Engine.connect(None, environ) as engine,
    ):
        assert engine.api_version == "1.41"
        assert engine.engine_version == "20.10.24"
        assert engine.host == environ["DOCKER_HOST"]
        assert engine.at_least("1.41")
        assert not engine.at_least("1.44")


@contextmanager
def engine_elsewhere(info: dict[str, object], version: dict[str, object]) -> Iterator[Engine]:
    """An engine at a TCP port, which is another machine's as far as one can tell."""

    def answer(line: str) -> bytes:
        return http(info if "/info" in line else version)

    listener = socket.create_server(("127.0.0.1", 0))
    environ = {"DOCKER_HOST": f"tcp://127.0.0.1:{listener.getsockname()[1]}"}
    with listening(listener, answer), Engine.connect(None, environ) as engine:
        yield engine


def test_ages_go_by_the_clock_of_the_engine():
    ahead = datetime.now(UTC) + timedelta(hours=2)
    with engine_elsewhere({"SystemTime": ahead.isoformat()}, VERSION) as engine:
        assert timedelta(minutes=-5) < engine.now() - ahead < timedelta(minutes=5)
        (found,) = check_engine(engine)
    assert found.status == "warning"
    assert "s ahead of this machine's" in found.detail


def test_an_engine_that_does_not_say_its_time_has_ours():
    with engine_elsewhere({"SystemTime": ""}, VERSION) as engine:
        assert engine.clock_ahead_seconds == 0
        (found,) = check_engine(engine)
    assert found.status == "ok"


def test_podman_has_one_identity_although_it_says_another_each_time():
    podman = VERSION | {"Components": [{"Name": "Podman Engine"}]}
    info = {"ID": "6cdf9e22", "Name": "box", "DockerRootDir": "/var/lib/containers/storage"}
    with engine_elsewhere(info, podman) as one, engine_elsewhere(info | {"ID": "x"}, podman) as two:
        assert one.engine_id == two.engine_id
        assert one.is_podman
    with engine_elsewhere(info, VERSION) as docker:
        assert docker.engine_id == "6cdf9e22"


@pytest.mark.parametrize(
    ("info", "rootless"),
    [
        ({"SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]}, True),
        ({"SecurityOptions": ["name=seccomp,profile=default"], "Rootless": True}, True),
        ({"SecurityOptions": None}, False),
    ],
)
def test_a_rootless_engine_says_so(info, rootless):
    with engine_elsewhere(info, VERSION) as engine:
        assert engine.is_rootless == rootless


def test_no_socket(tmp_path):
    with pytest.raises(EngineUnavailable, match="no such socket") as caught:
        Engine.connect(None, {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    assert caught.value.exit_code == 5
    assert f"unix://{tmp_path}/none.sock" in caught.value.message
    assert "DOCKER_HOST" in (caught.value.hint or "")


def test_a_socket_without_a_listener(tmp_path):
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "engine.sock"))
    with pytest.raises(EngineUnavailable, match="nobody listens there"):
        Engine.connect(None, {"DOCKER_HOST": f"unix://{tmp_path}/engine.sock"})


def test_a_tcp_port_without_a_listener():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(EngineUnavailable, match=f"tcp://127.0.0.1:{port} .nobody listens"):
        Engine.connect(None, {"DOCKER_HOST": f"tcp://127.0.0.1:{port}"})


def test_an_engine_that_closes_without_an_answer(tmp_path):
    with (
        engine_that_says(tmp_path, lambda _: b"") as environ,
        pytest.raises(EngineUnavailable, match="went away") as caught,
    ):
        Engine.connect(None, environ)
    assert "journalctl" in (caught.value.hint or "")


def test_an_engine_that_dies_in_the_middle_of_an_answer(tmp_path):
    def answer(request: str) -> bytes:
        return http(VERSION) if "/version" in request else http({"ID": "x" * 1000})[:200]

    with (
        engine_that_says(tmp_path, answer) as environ,
        Engine.connect(None, environ) as engine,
        pytest.raises(EngineUnavailable, match="went away"),
    ):
        assert engine.info


def test_something_else_that_answers(tmp_path):
    with (
        engine_that_says(tmp_path, lambda _: http({"hello": "world"})) as environ,
        pytest.raises(EngineUnavailable, match="is not one"),
    ):
        Engine.connect(None, environ)


def test_a_web_server_that_answers(tmp_path):
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    with (
        engine_that_says(tmp_path, lambda _: page) as environ,
        pytest.raises(EngineUnavailable, match="Cannot reach the Docker engine"),
    ):
        Engine.connect(None, environ)


def test_an_engine_that_refuses_keeps_its_own_words(tmp_path):
    refusal = http({"message": "authorization denied by plugin"}, "403 Forbidden")
    with (
        engine_that_says(tmp_path, lambda _: refusal) as environ,
        pytest.raises(EngineError, match="authorization denied by plugin"),
    ):
        Engine.connect(None, environ)


def threads_of(engine: Engine, count: int, *, quick: bool) -> set[int]:
    together = threading.Barrier(2 if not quick else 1)

    def work(_: int) -> int:
        together.wait(10)
        return threading.get_ident()

    return set(engine.map(work, range(count), quick=quick))


def test_quick_questions_to_a_local_engine_need_no_further_threads(tmp_path):
    with (
        engine_that_says(tmp_path, lambda _: http(VERSION)) as environ,
        Engine.connect(None, environ) as engine,
    ):
        assert threads_of(engine, 4, quick=True) == {threading.get_ident()}
        assert len(threads_of(engine, 4, quick=False) - {threading.get_ident()}) > 1


def test_tls_with_something_that_does_not_speak_it(tmp_path):
    listener = socket.create_server(("127.0.0.1", 0))
    authority = ssl.get_default_verify_paths().openssl_cafile
    (tmp_path / "ca.pem").write_text(
        Path(authority).read_text() if Path(authority).exists() else ""
    )
    environ = {
        "DOCKER_HOST": f"tcp://127.0.0.1:{listener.getsockname()[1]}",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(tmp_path),
    }
    with (
        listening(listener, lambda _: http(VERSION)),
        pytest.raises(EngineUnavailable, match="TLS") as caught,
    ):
        Engine.connect(None, environ)
    assert "DOCKER_CERT_PATH" in (caught.value.hint or "")


def test_an_address_that_is_none():
    with pytest.raises(EngineUnavailable, match="Cannot reach the Docker engine") as caught:
        Engine.connect(None, {"DOCKER_HOST": "nonsense://x"})
    assert "DOCKER_HOST" in (caught.value.hint or "")


def test_a_file_of_ours_is_not_taken_for_the_engine(tmp_path):
    with (
        engine_that_says(tmp_path, lambda _: http(VERSION)) as environ,
        Engine.connect(None, environ) as engine,
    ):
        with pytest.raises(FileNotFoundError), engine.translate("read a file"):
            (tmp_path / "missing").read_text()
        with pytest.raises(OSError, match="No space"), engine.translate("write a file"):
            raise OSError(28, "No space left on device")
        with pytest.raises(ZeroDivisionError), engine.translate("divide"):
            divmod(1, 0)


class Registry:
    """Answers for an engine that pulls; the stream is the engine's of a real pull."""

    def __init__(self, *events: object, image: object = None) -> None:
        self.events = events
        self.image = image

    def __call__(self, request: str) -> bytes:
        if "/images/create" in request:
            return chunked(*self.events)
        if "/version" in request:
            return http(VERSION)
        if self.image is None:
            return http({"message": "No such image: x:1"}, "404 Not Found")
        return http(self.image)


def test_pull_counts_layers_and_bytes(tmp_path):
    registry = Registry(
        {"status": "Pulling from library/x", "id": "1"},
        {"status": "Pulling fs layer", "progressDetail": {}, "id": "aaa"},
        {"status": "Pulling fs layer", "progressDetail": {}, "id": "bbb"},
        {"status": "Downloading", "progressDetail": {"current": 5, "total": 10}, "id": "aaa"},
        {"status": "Already exists", "progressDetail": {}, "id": "bbb"},
        {"status": "Download complete", "progressDetail": {}, "id": "aaa"},
        {"status": "Extracting", "progressDetail": {"current": 1, "total": 10}, "id": "aaa"},
        {"status": "Pull complete", "progressDetail": {}, "id": "aaa"},
        {"status": "Status: Downloaded newer image for x:1"},
        image={"Id": "sha256:1", "RepoTags": ["x:1"], "Config": {}},
    )
    seen: list[PullProgress] = []
    with (
        engine_that_says(tmp_path, registry) as environ,
        Engine.connect(None, environ) as engine,
    ):
        assert pull_image(engine, "x:1", on_progress=seen.append).id == "sha256:1"
    counts = [
        (each.layers_done, each.layers_total, each.bytes_done, each.bytes_total) for each in seen
    ]
    assert counts == [
        (0, 0, 0, 0), (0, 1, 0, 0), (0, 2, 0, 0), (0, 2, 5, 10), (1, 2, 5, 10), (1, 2, 10, 10),
        (1, 2, 10, 10), (2, 2, 10, 10), (2, 2, 10, 10),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("manifest for x:1 not found: manifest unknown", "spelling"),
        ("toomanyrequests: You have reached your pull rate limit", "docker login"),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", "platform"),
        ("Get https://registry/v2/: dial tcp: lookup registry: no such host", "network"),
    ],
)
def test_an_error_inside_the_stream_of_a_pull(tmp_path, text, hint):
    registry = Registry(
        {"status": "Pulling from x", "id": "1"},
        {"errorDetail": {"message": text}, "error": text},
    )
    with (
        engine_that_says(tmp_path, registry) as environ,
        Engine.connect(None, environ) as engine,
        pytest.raises(ImageMissing, match="x:1 is not on this machine") as caught,
    ):
        pull_image(engine, "x:1")
    assert text in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_disk_that_fills_during_a_pull(tmp_path):
    text = "failed to register layer: write /x: no space left on device"
    with (
        engine_that_says(tmp_path, Registry({"error": text})) as environ,
        Engine.connect(None, environ) as engine,
        pytest.raises(EngineError, match="the disk is full") as caught,
    ):
        pull_image(engine, "x:1")
    assert not isinstance(caught.value, ImageMissing)


def test_a_pull_that_ends_without_an_image(tmp_path):
    with (
        engine_that_says(tmp_path, Registry({"status": "Pulling"})) as environ,
        Engine.connect(None, environ) as engine,
        pytest.raises(ImageMissing, match="without an image"),
    ):
        pull_image(engine, "x:1")
