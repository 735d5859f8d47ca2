"""A real engine behind mutual TLS: reached by variables and by a context, refused with bad files."""

import contextlib
import hashlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from owctl.engine.connection import Engine
from owctl.errors import EngineUnavailable

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and one certificate that serves as the server's and the client's."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def make_certificates(folder: Path) -> Path:
    (folder / "extensions").write_text("subjectAltName=IP:127.0.0.1\n")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority "
        "-keyout ca-key.pem -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=both -keyout key.pem -out request.pem",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 "
        "-extfile extensions -out cert.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def tls_address(engine: Engine, certificates: Path) -> Iterator[str]:
    """The real engine's socket behind a TLS server that asks for the client's certificate."""
    if engine.endpoint.socket_path is None:
        pytest.skip("the engine is not reached by a unix socket")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=forward, args=(plain,))
            thread.start()
            threads.append(thread)

    def forward(plain: socket.socket) -> None:
        with (
            plain,
            contextlib.suppress(OSError),
            context.wrap_socket(plain, server_side=True) as tls,
        ):
            exchange(tls, str(engine.endpoint.socket_path))

    accepting = threading.Thread(target=accept)
    accepting.start()
    yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    accepting.join()
    for thread in threads:
        thread.join()


def exchange(tls: ssl.SSLSocket, path: str) -> None:
    """Carry requests of a few bytes to the engine, and its answers back."""
    with socket.socket(socket.AF_UNIX) as inner:
        inner.connect(path)

        def back() -> None:
            with contextlib.suppress(OSError):
                while data := inner.recv(65536):
                    tls.sendall(data)

        thread = threading.Thread(target=back)
        thread.start()
        with contextlib.suppress(OSError):
            while data := tls.recv(65536):
                inner.sendall(data)
        inner.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_by_variables(engine, tls_address, certificates, monkeypatch):
    # What other programs need to reach the internet says nothing about the engine.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates / "key.pem"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    environ = {
        "DOCKER_HOST": tls_address,
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(certificates),
    }
    with Engine.connect(None, environ) as secure:
        assert secure.engine_id == engine.engine_id


def test_by_a_context(engine, tls_address, certificates, tmp_path):
    identity = hashlib.sha256(b"secure").hexdigest()
    meta = tmp_path / "contexts" / "meta" / identity
    meta.mkdir(parents=True)
    endpoints = {"docker": {"Host": tls_address, "SkipTLSVerify": False}}
    (meta / "meta.json").write_text(json.dumps({"Name": "secure", "Endpoints": endpoints}))
    shutil.copytree(certificates, tmp_path / "contexts" / "tls" / identity / "docker")
    with Engine.connect("secure", {"DOCKER_CONFIG": str(tmp_path)}) as secure:
        assert secure.engine_id == engine.engine_id


def test_an_authority_that_did_not_sign_the_server(tls_address, certificates, tmp_path):
    make_certificates(tmp_path)
    for name in ("cert.pem", "key.pem"):
        shutil.copy(certificates / name, tmp_path / name)
    environ = {
        "DOCKER_HOST": tls_address, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path),
    }  # fmt: skip
    with pytest.raises(EngineUnavailable, match=r"TLS with .* failed") as caught:
        Engine.connect(None, environ)
    assert "ca.pem" in (caught.value.hint or "")


def test_a_client_certificate_that_the_engine_does_not_know(tls_address, certificates, tmp_path):
    make_certificates(tmp_path)
    shutil.copy(certificates / "ca.pem", tmp_path / "ca.pem")
    environ = {
        "DOCKER_HOST": tls_address, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path),
    }  # fmt: skip
    with pytest.raises(EngineUnavailable, match=r"Cannot reach the Docker engine"):
        Engine.connect(None, environ)


def test_a_broken_certificate_file(tls_address, tmp_path):
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text("not a certificate\n")
    environ = {
        "DOCKER_HOST": tls_address, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path),
    }  # fmt: skip
    with pytest.raises(EngineUnavailable) as caught:
        Engine.connect(None, environ)
    assert "DOCKER_CERT_PATH" in (caught.value.hint or "")


def test_plain_http_where_tls_is_spoken(tls_address):
    with pytest.raises(EngineUnavailable, match="Cannot reach the Docker engine"):
        Engine.connect(None, {"DOCKER_HOST": tls_address})
