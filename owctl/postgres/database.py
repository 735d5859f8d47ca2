"""The stack's database: which container it is, how it is connected to, which tables it has."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from owctl.engine.connection import Engine
from owctl.engine.containers import Container
from owctl.engine.execution import run
from owctl.errors import OwctlError, TimedOut
from owctl.volumes.inventory import Inventory

# The tables without which there is no Open WebUI in a database.
APPLICATION_TABLES = ("user", "chat")
_POLL_SECONDS = 0.1
# Tables of extensions are made by CREATE EXTENSION; pg_dump leaves their rows out.
TABLES_QUERY = """
SELECT n.nspname, c.relname, format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema'
  AND n.nspname !~ '^pg_' AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
    AND d.deptype = 'e')
ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the database; ``sql_name`` is quoted."""

    schema: str
    name: str
    sql_name: str

    @property
    def key(self) -> str:
        """The table's name in the manifest."""
        return f"{self.schema}.{self.name}"


def count_query(tables: Sequence[Table]) -> str:
    """Return the query for (position in ``tables``, number of rows); empty for no tables."""
    return " UNION ALL ".join(
        f"SELECT {number}, count(*) FROM ONLY {table.sql_name}"  # noqa: S608  # quoted by the server
        for number, table in enumerate(tables)
    )


def find_database(inventory: Inventory) -> Container:
    """Return the running container of the database; raises OwctlError if there is none."""
    service = inventory.database_service
    if service is None:
        raise OwctlError(
            "The stack has no PostgreSQL service to back up.",
            hint="owctl backup --only files,redis,config",
        )
    containers = inventory.database_containers()
    for container in containers:
        if container.is_running:
            return container
    state = f"is {containers[0].state}" if containers else "does not exist"
    raise OwctlError(
        f"Cannot back up the database: the container of {service} {state}.",
        hint=f"owctl start {service}",
    )


def wait_for_answer(engine: Engine, container: Container, timeout_seconds: float = 300.0) -> None:
    """Wait until PostgreSQL takes sessions, asked within its container; raises TimedOut."""
    deadline = time.monotonic() + timeout_seconds
    while run(engine, container.id, ["pg_isready", "-q"], timeout_seconds=30).exit_code:
        if time.monotonic() > deadline:
            raise TimedOut(
                f"PostgreSQL in {container.name} takes no sessions after {timeout_seconds:.0f} s.",
                hint=f"owctl logs {container.service}",
            )
        time.sleep(_POLL_SECONDS)


def connection_environment(engine: Engine, container: Container) -> dict[str, str]:
    """Return libpq's variables for the database that the container was made with."""
    user = _variable(engine, container, "POSTGRES_USER") or "postgres"
    database = _variable(engine, container, "POSTGRES_DB") or user
    password = _variable(engine, container, "POSTGRES_PASSWORD")
    environment = {"PGUSER": user, "PGDATABASE": database, "PGCLIENTENCODING": "UTF8"}
    return {**environment, "PGPASSWORD": password} if password else environment


def _variable(engine: Engine, container: Container, name: str) -> str | None:
    value = container.environment.get(name)
    path = container.environment.get(f"{name}_FILE")
    if value or not path:
        return value
    found = run(engine, container.id, ["cat", path], timeout_seconds=30)
    return found.stdout.decode("utf-8", "replace").strip() if found.exit_code == 0 else None
