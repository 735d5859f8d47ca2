"""Which probe a service gets, and which credentials the probe uses."""

from types import SimpleNamespace

import pytest

from owctl.compose.model import Port, Probe, Service
from owctl.compose.services import choose_probe
from owctl.health.target import command_of, container_environment, redis_password
from owctl.postgres.place import Credentials, credentials_of


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("db", "postgres:16-alpine", Probe("postgres", 5432)),
        ("db", "registry.example.org:5000/library/postgres", Probe("postgres", 5432)),
        ("db", "bitnami/postgresql@sha256:0123", Probe("postgres", 5432)),
        ("db", "owctl-demo-postgres:latest", Probe("postgres", 5432)),
        ("postgres", None, Probe("postgres", 5432)),
        ("x", "redis:7-alpine", Probe("redis", 6379)),
        ("x", "valkey/valkey:8", Probe("redis", 6379)),
        ("redis", "example/own-build", Probe("redis", 6379)),
        ("x", "team/open-webui-rust-backend:latest", Probe("http", 8080, "/health")),
        ("backend", None, Probe("http", 8080, "/health")),
        ("x", "team/open-webui-socketio-bridge:1", Probe("socketio", 8081, "/health")),
        ("socketio-bridge", None, Probe("socketio", 8081, "/health")),
        ("frontend", None, Probe("http", 8080, "/health")),
        ("x", "ghcr.io/open-webui/open-webui:main", Probe("http", 8080, "/health")),
        ("tool", "rediscommander/redis-commander:latest", Probe("none")),
        ("tool", "prometheuscommunity/postgres-exporter", Probe("none")),
        ("tool", "dpage/pgadmin4:latest", Probe("none")),
        ("worker", None, Probe("none")),
    ],
)
def test_by_image_and_name(name: str, image: str | None, expected: Probe) -> None:
    assert choose_probe(Service(name, image=image)) == expected


def test_the_compose_entry_has_the_last_word() -> None:
    wanted = Probe("http", 9000, "/ready?full=1")
    assert choose_probe(Service("redis", image="redis:7", probe=wanted)) == wanted
    assert choose_probe(Service("redis", image="redis:7", probe=Probe("none"))) == Probe("none")
    assert choose_probe(Service("x", probe=Probe("http", 80))) == Probe("http", 80, "/health")
    assert choose_probe(Service("x", probe=Probe("redis"))) == Probe("redis", 6379)


def test_the_port_is_the_containers() -> None:
    def port(*ports: Port, expose: tuple[str, ...] = (), image: str = "postgres") -> int | None:
        return choose_probe(Service("x", image=image, ports=ports, expose=expose)).port

    assert port(Port(5432, "15432")) == 5432
    assert port(Port(5433, "5432")) == 5433
    assert port(Port(9999), Port(5432)) == 5432
    assert port(Port(53, protocol="udp"), Port(5433)) == 5433
    assert port(expose=("9000-9002/tcp",)) == 9000
    assert port(expose=("9000/udp",)) == 5432
    assert port(Port(80, "3000"), image="team/open-webui-frontend") == 80


def container(**config: object) -> SimpleNamespace:
    return SimpleNamespace(environment={}, raw={"Config": config})


def test_the_running_containers_environment_counts() -> None:
    service = Service("db", environment={"POSTGRES_USER": "new", "UNSET": None})
    running = SimpleNamespace(environment={"POSTGRES_USER": "old"})
    assert container_environment(service, running) == {"POSTGRES_USER": "old"}
    assert container_environment(service, container()) == {"POSTGRES_USER": "new"}


def test_postgres_login_by_the_images_rules() -> None:
    assert credentials_of({}) == Credentials("postgres", "postgres")
    assert credentials_of({"POSTGRES_USER": "u"}) == Credentials("u", "u")
    assert credentials_of({"POSTGRES_USER": "u", "POSTGRES_DB": "d"}) == Credentials("u", "d")


SHIPPED = 'exec docker-entrypoint.sh redis-server - <<END\nrequirepass "$REDIS_PASSWORD"\nEND\n'


@pytest.mark.parametrize(
    ("environment", "command", "password"),
    [
        ({}, ["redis-server", "--appendonly", "yes"], None),
        ({"REDIS_PASSWORD": "e"}, ["sh", "-c", SHIPPED], "e"),
        ({"REDISCLI_AUTH": "e"}, [], "e"),
        ({"REDIS_PASSWORD": ""}, [], None),
        ({"REDIS_PASSWORD": "e"}, ["redis-server", "--requirepass", "c"], "c"),
        ({}, ["redis-server", "--requirepass", "two words"], "two words"),
        ({}, ["redis-server", "--requirepass"], None),
        ({}, ["redis-server", "--requirepass", ""], None),
        ({}, ["redis-server --requirepass c --save ''"], "c"),
        ({"P": "e"}, ["sh", "-c", 'redis-server --requirepass "$P"'], "e"),
        ({"P": "e"}, ["sh", "-c", "redis-server --requirepass ${P}x"], "ex"),
        ({}, ["sh", "-c", "redis-server --requirepass $P"], None),
        ({}, ["sh", "-c", "echo 'unclosed; redis-server --requirepass c"], "c"),
    ],
)
def test_redis_password(
    environment: dict[str, str], command: list[str], password: str | None
) -> None:
    assert redis_password(environment, command) == password


def test_the_command_is_the_containers_else_the_services() -> None:
    service = Service("redis", command=("redis-server",))
    assert command_of(service, container(Entrypoint=["e"], Cmd=["c"])) == ("e", "c")
    assert command_of(service, container(Entrypoint=None, Cmd=None)) == ("redis-server",)
