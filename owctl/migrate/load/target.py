"""The database to load: where it is, whose tables it has, and whether it may be loaded at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from owctl.compose.model import Stack
from owctl.compose.services import choose_probe
from owctl.errors import OwctlError
from owctl.health.target import Address, find_address
from owctl.migrate.convert.model import ColumnInfo
from owctl.postgres.database import APPLICATION_TABLES
from owctl.postgres.place import address_of, backend_of, is_postgres, require_database

if TYPE_CHECKING:
    import psycopg

    from owctl.compose.model import Service
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container

CONFIG_TABLE = "config"
CONNECT_SECONDS = 10
_PORT = 5432
_COLUMNS = """
SELECT table_name, column_name, data_type, character_maximum_length, is_nullable = 'YES'
FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
ORDER BY table_name, ordinal_position
"""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the stack's PostgreSQL answers and how its services sign in."""

    address: Address
    user: str
    database: str
    service: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Look:
    """What the database has: columns by table, the schema's name, and rows by table.

    ``schema`` is ``001-006``, ``001-010``, or ``unknown`` for tables that are neither's.
    """

    columns: Mapping[str, Mapping[str, ColumnInfo]]
    schema: str
    rows: Mapping[str, int]
    server_version: int

    @property
    def has_application_tables(self) -> bool:
        """Whether these are Open WebUI's tables at all."""
        return all(table in self.columns for table in APPLICATION_TABLES)

    @property
    def filled(self) -> dict[str, int]:
        """The tables other than ``config`` that have rows."""
        return {table: n for table, n in self.rows.items() if n and table != CONFIG_TABLE}


def find_backend(stack: Stack) -> "Service":
    """Return the service that owns the database's tables; raises OwctlError if there is none."""
    backend = backend_of(stack)
    if backend is not None:
        return backend
    raise OwctlError(
        "The stack has no backend service with a DATABASE_URL, so there is nothing to migrate to.",
        hint="owctl config, in the folder of the new stack",
    )


def refuse_other_databases(service: "Service", container: "Container | None") -> None:
    """Raise OwctlError unless the backend's DATABASE_URL is one of PostgreSQL."""
    declared = service.environment.get("DATABASE_URL")
    url = (container.environment.get("DATABASE_URL") if container else None) or declared or ""
    scheme, _ = address_of(url)
    if not is_postgres(scheme):
        what = f"its DATABASE_URL begins with {scheme}:" if scheme else "it has no DATABASE_URL"
        raise OwctlError(
            f"The backend {service.name} does not use PostgreSQL: {what}.",
            hint="a backend that does, with DATABASE_URL=postgresql://… in its environment",
        )


def find_target(engine: "Engine", stack: Stack) -> Target:
    """Return the running PostgreSQL of the stack; raises OwctlError with what is in the way.

    The published port is used, else the container's own address.
    """
    from owctl.engine.containers import list_containers
    from owctl.postgres.database import connection_environment

    place = require_database(stack, "to migrate to", hint="owctl config")
    containers = list_containers(engine, stack.project, services=[place.name])
    container = next((each for each in containers if each.is_running), None)
    if container is None:
        raise OwctlError(f"{place.name} is not running.", hint=f"owctl start {place.name}")
    port = choose_probe(place.service).port or _PORT
    address = find_address(engine, container, port)
    if address is None:
        raise OwctlError(
            f"PostgreSQL in the container {container.name} cannot be reached from this machine.",
            hint=f"owctl on the engine's own machine, or publish port {port} of {place.name}",
        )
    login = connection_environment(engine, container)
    return Target(
        address,
        login["PGUSER"],
        login["PGDATABASE"],
        container.service,
        login.get("PGPASSWORD", ""),
    )


def connect(target: Target) -> "psycopg.Connection[tuple[Any, ...]]":
    """Sign in, every statement a transaction of its own; raises OwctlError with the server's words."""
    import psycopg

    through = target.address.through
    try:
        return psycopg.connect(
            # A folder, for the library, is where the socket of that port lies.
            host=str(through.parent) if through is not None else target.address.host,
            port=target.address.port,
            user=target.user,
            password=target.password,
            dbname=target.database,
            connect_timeout=CONNECT_SECONDS,
            application_name="owctl migrate",
            client_encoding="utf8",
            keepalives_idle=30,
            autocommit=True,
        )
    except psycopg.Error as error:
        raise OwctlError(
            f"Cannot sign in to PostgreSQL at {target.address} as {target.user}.",
            hint=f"owctl health --deep {target.service}",
            details=str(error).splitlines()[:3],
        ) from error


def look(connection: "psycopg.Connection[tuple[Any, ...]]") -> Look:
    """Read what the database has; the counts are exact."""
    from psycopg import sql

    columns: dict[str, dict[str, ColumnInfo]] = {}
    for table, column, kind, length, nullable in connection.execute(_COLUMNS):
        columns.setdefault(table, {})[column] = ColumnInfo(kind, length, nullable)
    rows = {}
    for table in columns:
        query = sql.SQL("SELECT count(*) FROM public.{}").format(sql.Identifier(table))
        found = connection.execute(query).fetchone()
        rows[table] = int(found[0]) if found else 0
    return Look(columns, _schema(columns), rows, connection.info.server_version)


def refuse_without_tables(found: Look, backend: str) -> None:
    """Raise OwctlError if the backend, once started, has not made its tables here."""
    if not found.has_application_tables:
        raise OwctlError(
            f"PostgreSQL has no tables of Open WebUI ({len(found.columns)} tables in all): "
            f"{backend} has made them elsewhere, or has never been started.",
            hint="owctl start; owctl doctor tells where the data is",
        )


def refuse_unless_empty(found: Look, *, replace: bool) -> None:
    """Raise OwctlError if there are rows outside ``config``, unless they shall be replaced."""
    if found.filled and not replace:
        most = sorted(found.filled.items(), key=lambda item: -item[1])
        raise OwctlError(
            "The new database is not empty: "
            + ", ".join(f"{table} {count}" for table, count in most[:5])
            + (" …" if len(most) > 5 else "")
            + ".",
            hint="owctl migrate with --replace; it makes a verified backup first, then removes "
            "what is there",
        )


def _schema(columns: Mapping[str, Mapping[str, ColumnInfo]]) -> str:
    """Return the migrations whose result these tables are.

    The backend keeps no record of what it ran, so the columns have to tell.
    """
    file, message = columns.get("file", {}), columns.get("message", {})
    if "chat_id" not in message or not file:
        return "unknown"
    if "hash" in file and message["chat_id"].nullable:
        return "001-010"
    return "unknown" if "hash" in file or message["chat_id"].nullable else "001-006"
