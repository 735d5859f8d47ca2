"""A PostgreSQL of the tests' own, with the tables of the new backend, reached as owctl reaches it."""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from engine_helpers import wait_until

from owctl.engine.connection import Engine
from owctl.engine.containers import create_container, inspect_container, start_container
from owctl.health.target import Address, find_address
from owctl.migrate.load.target import Target, connect

SCHEMAS = Path(__file__).parents[2] / "compose" / "demo" / "rust-backend"
IMAGE = "owctl-demo-postgres:latest"
LOGIN = {"POSTGRES_USER": "web", "POSTGRES_DB": "chats", "POSTGRES_PASSWORD": "correct-horse"}


class Server:
    """A container with PostgreSQL; every ``database`` is a new one."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        name = f"owctl-test-{secrets.token_hex(4)}"
        body = {
            "Image": IMAGE,
            "Env": [f"{key}={value}" for key, value in LOGIN.items()],
            "Labels": {"com.docker.compose.project": name},
        }
        self.container = create_container(engine, name, body)
        start_container(engine, self.container)
        self.address = self._address()
        wait_until(self._answers, "PostgreSQL answers", timeout_seconds=60)

    def target(self, database: str) -> Target:
        return Target(self.address, "web", database, "postgres", LOGIN["POSTGRES_PASSWORD"])

    @contextlib.contextmanager
    def database(self, schema: str | None = "001-010") -> Iterator[Target]:
        """Make a database with the tables of that schema; gone afterwards."""
        name = f"test_{secrets.token_hex(4)}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            target = self.target(name)
            if schema is not None:
                with connect(target) as connection:
                    connection.execute((SCHEMAS / f"schema-{schema}.sql").read_bytes())
            yield target
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        with connect(self.target("chats")) as connection:
            connection.autocommit = True
            connection.execute(statement.encode())

    def remove(self) -> None:
        self.engine.api.remove_container(self.container, force=True, v=True)

    def _address(self) -> Address:
        container = inspect_container(self.engine, self.container)
        assert container is not None
        address = find_address(self.engine, container, 5432)
        assert address is not None
        return address

    def _answers(self) -> bool:
        try:
            psycopg.connect(
                host=self.address.host,
                port=self.address.port,
                user="web",
                dbname="chats",
                password=LOGIN["POSTGRES_PASSWORD"],
                connect_timeout=2,
            ).close()
        except psycopg.OperationalError:
            return False
        return True


@pytest.fixture(scope="session")
def server(engine: Engine) -> Iterator[Server]:
    made = Server(engine)
    try:
        yield made
    finally:
        made.remove()
