"""From files to the model: forms, units, defaults, names."""

from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from owctl.commands.config import printable_spec
from owctl.compose.document import (
    format_duration,
    parse_duration,
    parse_size,
    plain_text,
    single_precision,
)
from owctl.compose.model import Attachment, Dependency, HealthCheck, Mount, Port, Stack
from owctl.compose.references import dependency_order, find_cycle
from owctl.compose.services import resolve_services
from owctl.errors import ConfigurationError, UnknownService
from tests.unit.compose_files import DATA, load_files, load_texts


@pytest.fixture(scope="module")
def upstream() -> Stack:
    return load_files(DATA, "docker-compose.yaml", environ={"RUST_PORT": "9090"})


@pytest.fixture(scope="module")
def everything() -> Stack:
    environ = {"HOME": "/root"}
    return load_files(DATA, "everything.yaml", profiles=("all",), environ=environ)


def test_upstream_stack(upstream: Stack) -> None:
    assert list(upstream.services) == [
        *("postgres", "redis", "rust-backend", "socketio-bridge", "frontend")
    ]
    backend = upstream.services["rust-backend"]
    assert backend.ports == (Port(8080, "9090"),)
    assert backend.container_name == "open-webui-rust-backend"
    assert backend.restart == "unless-stopped"
    assert backend.environment["PORT"] == "9090"
    assert backend.build is not None
    assert backend.build.context == DATA / "rust-backend"
    assert backend.mounts == (
        Mount("volume", "/app/data", "rust_backend_data", False, False, False),
    )
    assert backend.attachments == (Attachment("open-webui-network"),)
    assert backend.depends_on == (
        Dependency("postgres", "service_healthy"),
        Dependency("redis", "service_healthy"),
    )
    assert backend.healthcheck == HealthCheck(
        ("CMD", "curl", "-f", "http://localhost:9090/health"), 30.0, 10.0, 40.0, None, 3
    )
    assert upstream.services["redis"].command == ("redis-server", "--appendonly", "yes")
    assert upstream.networks["open-webui-network"].name == "test_open-webui-network"
    assert upstream.volumes["postgres_data"].name == "test_postgres_data"


def test_start_order(upstream: Stack) -> None:
    assert dependency_order(upstream) == tuple(upstream.services)


def test_development_stack() -> None:
    stack = load_files(DATA, "docker-compose.dev.yaml")
    assert list(stack.services) == ["postgres", "redis", "socketio-bridge"]
    bridge = stack.services["socketio-bridge"]
    assert bridge.image_name("test") == "test-socketio-bridge"
    assert bridge.extra_hosts == ("host.docker.internal=host-gateway",)
    assert bridge.environment["USE_REDIS"] == "true"
    assert bridge.mounts[0].source == str(DATA / "rust-backend/socketio_bridge.py")
    assert stack.networks["default"].name == "test_default"
    assert stack.services["postgres"].healthcheck == HealthCheck(
        ("CMD-SHELL", "pg_isready -U open_webui"), 10.0, 5.0, None, None, 5
    )


def test_every_supported_key(everything: Stack) -> None:
    service = everything.services["all"]
    assert service.image == "example:1.0"
    assert service.command == ("sh", "-c", "echo 'a b' && exec true", "$HOME")
    assert service.environment["NOBODY_SETS_THIS"] is None
    assert service.environment["DOLLAR"] == "a$b"
    assert Port(91, "5001", "127.0.0.1", "udp") in service.ports
    assert Port(77, "", "127.0.0.1") in service.ports
    assert Port(99, "6060-6062") in service.ports
    assert [m.target for m in service.mounts][-1] == "/run"
    assert service.mounts[-1].tmpfs_options == "size=64m"
    assert service.mounts[3] == Mount("volume", "/anonymous", create_host_path=False)
    assert service.mounts[2].source == "/root/home"
    assert service.mounts[2].selinux == "z"
    assert service.stop_grace_period_seconds == 90
    assert service.resources.memory_limit_bytes == 512 * 1024**2
    assert service.resources.cpus == pytest.approx(0.1)
    assert service.resources.devices[0]["count"] == -1
    assert service.devices == ("/dev/null:/dev/x:rwm",)
    assert service.shm_size_bytes == 64 * 1024**2
    assert service.scale == 2
    assert service.restart == "on-failure:3"
    assert service.healthcheck is not None
    assert service.healthcheck.timeout_seconds == pytest.approx(90.5)
    assert service.init is False
    assert service.tty is True
    plain = everything.services["plain"]
    assert (plain.command, plain.entrypoint, plain.network_mode) == ((), (), "host")
    assert plain.healthcheck is not None
    assert plain.healthcheck.disabled
    assert everything.volumes["data"].name == "named"
    assert "unused" not in everything.volumes
    assert "elsewhere" not in everything.networks


def test_the_model_is_frozen_and_keeps_secrets_out_of_its_repr(tmp_path: Path) -> None:
    stack = load_texts(tmp_path, "services: {a: {image: x, environment: {P: s3cret-word}}}")
    with pytest.raises(FrozenInstanceError):
        stack.services["a"].image = "y"  # type: ignore[misc]
    assert "s3cret-word" not in repr(stack)


def test_printed_spec_can_be_read_again(tmp_path: Path, everything: Stack) -> None:
    import yaml

    text = yaml.safe_dump(printable_spec(everything), sort_keys=False)
    again = load_texts(tmp_path, text, profiles=("all",), project_name="everything")
    printed = printable_spec(again)
    assert printed["services"] == printable_spec(everything)["services"]


@pytest.mark.parametrize(
    ("text", "environ", "flag", "expected"),
    [
        ("", {}, None, "my-folder_1"),
        ("name: from-file\n", {}, None, "from-file"),
        ("name: ${N:-default}\n", {"N": "interpolated"}, None, "interpolated"),
        ("name: from-file\n", {"COMPOSE_PROJECT_NAME": "from-env"}, None, "from-env"),
        ("name: from-file\n", {"COMPOSE_PROJECT_NAME": "from-env"}, "from-flag", "from-flag"),
    ],
)
def test_project_name(
    tmp_path: Path, text: str, environ: Mapping[str, str], flag: str | None, expected: str
) -> None:
    folder = tmp_path / "_My-Fol.der_1"
    folder.mkdir()
    service = "services: {a: {image: x, environment: {N: $COMPOSE_PROJECT_NAME}}}\n"
    stack = load_texts(folder, text + service, environ=environ, project_name=flag)
    assert stack.project == expected
    assert stack.services["a"].environment["N"] == expected


def test_last_name_wins(tmp_path: Path) -> None:
    first = "name: one\nservices: {a: {image: x}}"
    assert load_texts(tmp_path, first, "name: two", project_name=None).project == "two"


def test_project_names_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match='"Up"'):
        load_texts(tmp_path, "services: {a: {image: x}}", project_name="Up")
    folder = tmp_path / "..."
    folder.mkdir()
    with pytest.raises(ConfigurationError, match="No project name"):
        load_texts(folder, "services: {a: {image: x}}", project_name=None)


def test_service_names(upstream: Stack, tmp_path: Path) -> None:
    assert [s.name for s in resolve_services(upstream, ())] == list(upstream.services)
    names = ["backend", "db", "bridge", "socketio", "rust-backend"]
    found = [service.name for service in resolve_services(upstream, names)]
    assert found == ["rust-backend", "postgres", "socketio-bridge"]
    with pytest.raises(UnknownService, match=r'"fronted"\. Did you mean frontend') as raised:
        resolve_services(upstream, ["fronted"])
    assert raised.value.exit_code == 2
    assert "socketio-bridge" in (raised.value.hint or "")
    own = load_texts(tmp_path, "services: {db: {image: x}, postgres: {image: x}}")
    assert resolve_services(own, ["db"])[0].name == "db"


def test_a_circle_is_found_wherever_it_is() -> None:
    assert find_cycle({"a": ("b",), "b": ("c",), "c": ("b",)}) == ("b", "c", "b")
    assert find_cycle({"a": ("a",)}) == ("a", "a")
    assert find_cycle({"a": ("b", "c"), "b": ("c",), "c": ()}) == ()


@given(st.integers(min_value=0, max_value=10**15))
def test_durations_survive_printing(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == pytest.approx(nanoseconds, abs=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", "1m30s"), ("1h", "1h0m0s"), ("500ms", "500ms"), ("1.5s", "1.5s"), ("0", "0s")],
)
def test_durations_are_printed_as_go_does(text: str, expected: str) -> None:
    assert format_duration(parse_duration(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5", 5), ("1k", 1024), ("1.5g", 1610612736), ("2GiB", 2 << 30), ("64 mb", 64 << 20)],
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.0, "1"), (1.1, "1.1"), (1e30, "1e+30"), (1e-05, "1e-05"), (1e20, "1e+20"), (999999.0, "999999"), (1e6, "1e+06"), (12345678.25, "1.234567825e+07"),
     (True, "true"), (12, "12"), (0.0001, "0.0001")],
)  # fmt: skip
def test_numbers_in_environments(value: float, expected: str) -> None:
    assert plain_text(value) == expected


def test_processors_have_single_precision() -> None:
    assert str(single_precision(1 / 3)) == "0.33333334"
    assert str(single_precision(2.0)) == "2"


def test_gpus_are_devices_with_the_capability_gpu(tmp_path: Path) -> None:
    service = load_texts(tmp_path, "services: {a: {image: x, gpus: all}}").services["a"]
    assert service.resources.devices == ({"count": -1, "capabilities": ["gpu"]},)
