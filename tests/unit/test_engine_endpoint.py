"""Which engine is meant: flags, variables, contexts."""

import hashlib
import json
import socket
from pathlib import Path

import pytest

from owctl.engine.connection import Engine
from owctl.engine.endpoint import DEFAULT_HOST, proxy_environment, resolve_endpoint
from owctl.errors import EngineUnavailable


def add_context(folder: Path, name: str, host: str, *, skip_verify: bool = False) -> Path:
    identity = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / identity
    meta.mkdir(parents=True)
    endpoint = {"Host": host, "SkipTLSVerify": skip_verify}
    meta.joinpath("meta.json").write_text(
        json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}})
    )
    return folder / "contexts" / "tls" / identity / "docker"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    add_context(folder, "flagged", "unix:///flagged.sock")
    add_context(folder, "variable", "unix:///variable.sock")
    add_context(folder, "current", "unix:///current.sock")
    folder.joinpath("config.json").write_text('{"currentContext": "current"}')
    return folder


@pytest.mark.parametrize(
    ("context", "variables", "host", "chosen_by"),
    [
        ("flagged", {"DOCKER_HOST": "tcp://h:1", "DOCKER_CONTEXT": "variable"},
         "unix:///flagged.sock", "the docker context 'flagged'"),
        (None, {"DOCKER_HOST": "tcp://h:1", "DOCKER_CONTEXT": "variable"},
         "tcp://h:1", "DOCKER_HOST"),
        (None, {"DOCKER_CONTEXT": "variable"},
         "unix:///variable.sock", "the docker context 'variable'"),
        (None, {}, "unix:///current.sock", "the docker context 'current'"),
        ("default", {}, DEFAULT_HOST, "the default"),
        ("default", {"DOCKER_HOST": "ssh://me@h"}, "ssh://me@h", "DOCKER_HOST"),
        (None, {"DOCKER_HOST": "h:2375"}, "tcp://h:2375", "DOCKER_HOST"),
        (None, {"DOCKER_HOST": "", "DOCKER_CONTEXT": "default"}, DEFAULT_HOST, "the default"),
    ],
)  # fmt: skip
def test_the_order_is_the_docker_commands(config, context, variables, host, chosen_by):
    endpoint = resolve_endpoint(context, {"DOCKER_CONFIG": str(config), **variables})
    assert (endpoint.host, endpoint.chosen_by) == (host, chosen_by)


def test_without_any_configuration_it_is_the_default_socket(tmp_path):
    endpoint = resolve_endpoint(None, {"HOME": str(tmp_path)})
    assert endpoint.host == DEFAULT_HOST
    assert endpoint.socket_path == Path("/var/run/docker.sock")
    assert endpoint.tls is None


def test_a_context_that_does_not_exist(config):
    with pytest.raises(
        EngineUnavailable, match=r"no docker context 'gone'.*DOCKER_CONTEXT"
    ) as caught:
        resolve_endpoint(None, {"DOCKER_CONFIG": str(config), "DOCKER_CONTEXT": "gone"})
    assert "default, current, flagged, variable" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["{", "\xff"])
def test_a_broken_configuration_is_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(EngineUnavailable, match=r"config\.json cannot be read"):
        resolve_endpoint(None, {"DOCKER_CONFIG": str(tmp_path)})


def test_tls_from_the_environment(tmp_path):
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).touch()
    variables = {"DOCKER_CERT_PATH": str(tmp_path), "DOCKER_HOST": "tcp://h:2376"}
    tls = resolve_endpoint(None, {**variables, "DOCKER_TLS_VERIFY": "1"}).tls
    assert tls is not None
    assert (tls.authority, tls.certificate, tls.key, tls.verify) == (
        tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem", True,
    )  # fmt: skip
    unverified = resolve_endpoint(None, {**variables, "DOCKER_TLS": "1"}).tls
    assert unverified is not None
    assert not unverified.verify
    assert resolve_endpoint(None, variables).tls is None
    unix = {**variables, "DOCKER_HOST": "unix:///s", "DOCKER_TLS_VERIFY": "1"}
    assert resolve_endpoint(None, unix).tls is None


def test_tls_without_certificates_names_the_folder(tmp_path):
    variables = {
        "DOCKER_HOST": "tcp://h:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path),
    }  # fmt: skip
    with pytest.raises(EngineUnavailable, match="DOCKER_CERT_PATH"):
        resolve_endpoint(None, variables)


def test_tls_of_a_context(tmp_path):
    folder = add_context(tmp_path, "remote", "tcp://h:2376")
    folder.mkdir(parents=True)
    (folder / "ca.pem").touch()
    tls = resolve_endpoint("remote", {"DOCKER_CONFIG": str(tmp_path)}).tls
    assert tls is not None
    assert tls.authority == folder / "ca.pem"
    assert tls.verify
    add_context(tmp_path, "careless", "tcp://h:2376", skip_verify=True)
    careless = resolve_endpoint("careless", {"DOCKER_CONFIG": str(tmp_path)}).tls
    assert careless is not None
    assert not careless.verify


def test_a_rootless_socket_is_hinted_at(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "docker.sock"))
        environ = {
            "DOCKER_HOST": f"unix://{tmp_path}/none.sock", "XDG_RUNTIME_DIR": str(tmp_path),
        }  # fmt: skip
        with pytest.raises(EngineUnavailable) as caught:
            Engine.connect(None, environ)
    assert f"export DOCKER_HOST=unix://{tmp_path}/docker.sock" in (caught.value.hint or "")


def test_proxies_for_containers_come_from_the_docker_commands_configuration(tmp_path):
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    assert proxy_environment(DEFAULT_HOST, environ) == {}
    proxies = {
        "default": {"httpProxy": "http://p:1", "noProxy": "localhost"},
        "tcp://h:1": {"httpsProxy": "http://q:2"},
    }
    (tmp_path / "config.json").write_text(json.dumps({"proxies": proxies}))
    assert proxy_environment(DEFAULT_HOST, environ) == {
        "HTTP_PROXY": "http://p:1", "http_proxy": "http://p:1",
        "NO_PROXY": "localhost", "no_proxy": "localhost",
    }  # fmt: skip
    assert proxy_environment("tcp://h:1", environ) == {
        "HTTPS_PROXY": "http://q:2", "https_proxy": "http://q:2",
    }  # fmt: skip
