"""The database to load: where it is, whether it may be loaded, and how it is made ready for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from owctl.compose.model import Stack
from owctl.compose.services import choose_probe
from owctl.errors import Locked, OwctlError
from owctl.health.target import Address, find_address
from owctl.migrate.convert.column_map import ColumnInfo, Options, TableMap
from owctl.migrate.load.copying import server_words
from owctl.postgres.place import (
    APPLICATION_TABLES,
    address_of,
    backend_of,
    is_postgres,
    require_database,
)

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]
    from owctl.compose.model import Service
    from owctl.engine.connection import Engine
    from owctl.engine.containers import Container
    from owctl.migrate.source.database import Source


# -- The database to load: where it is, whose tables it has, and whether it may be loaded at all.


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
    from owctl.postgres.place import connection_environment

    containers = list_containers(engine, stack.project)
    place = require_database(stack, "to migrate to", hint="owctl config", containers=containers)
    mine = (each for each in containers if each.service == place.name)
    container = next((each for each in mine if each.is_running), None)
    if container is None:
        raise OwctlError(f"{place.name} is not running.", hint=f"owctl start {place.name}")
    port = choose_probe(place.service).port or _PORT
    address = find_address(engine, container, port)
    if address is None:
        raise OwctlError(
            f"PostgreSQL in the container {container.name} cannot be reached from this machine.",
            hint=f"owctl on the engine's own machine, or publish port {port} of {place.name}",
        )
    login = connection_environment(engine, container, place.database)
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


# -- What a load does in its transaction before and after the rows: settings, locks, columns, marks.


# Any number; two loads of one database must not run at once.
LOAD_LOCK = 7_166_901_153
_MARK = "owctl migrate "
_COMPRESSION = """
SELECT set_config('default_toast_compression', 'lz4', true) FROM pg_settings
WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals)
"""
_SEQUENCES = """
SELECT table_name, column_name,
  pg_get_serial_sequence(format('public.%I', table_name), column_name)
FROM information_schema.columns
WHERE table_schema = 'public' AND column_default LIKE 'nextval(%'
"""


def configure(connection: "Connection") -> None:
    """Set what makes a load fast or keeps it from being cut off, for this transaction only.

    Nothing that the data's safety rests on is touched: constraints hold, and the server flushes
    as it always does.
    """
    connection.execute("SET LOCAL statement_timeout = 0")
    connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    connection.execute("SET LOCAL client_min_messages = warning")
    # A load that was killed may be in the server for a while yet.
    connection.execute("SET LOCAL lock_timeout = '15s'")
    # What a query hands to other processes must fit into the memory that they share.
    connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")
    connection.execute("SET LOCAL search_path = public, pg_catalog")
    connection.execute(_COMPRESSION)


def lock(connection: "Connection") -> None:
    """Keep other loads and every writer out until the transaction ends; raises Locked."""
    import psycopg
    from psycopg import sql

    try:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOAD_LOCK])
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        ).fetchall()
        for (table,) in tables:
            name = sql.Identifier("public", table)
            connection.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(name))
    except psycopg.errors.LockNotAvailable as error:
        raise Locked(
            "Somebody else writes to the new database: another migration, or a backend that runs.",
            hint="stop the backend (owctl stop backend), then the same command again",
        ) from error


def relax(connection: "Connection", source: "Source", found: Look) -> list[str]:
    """Let messages of channels in, as a later migration of the backend does; returns what was done.

    Only where the older schema demands a chat and a role of each message, and there are messages.
    """
    changes: list[str] = []
    for column in needs_null(source, found):
        connection.execute(
            f"ALTER TABLE public.message ALTER COLUMN {column} DROP NOT NULL".encode()
        )
        changes.append(f"message.{column} may be NULL now, as messages of channels need it")
    return changes


def needs_null(source: "Source", found: Look) -> list[str]:
    """Return the columns of ``message`` that must become nullable for the source's messages."""
    message = found.columns.get("message", {})
    if "message" not in source.tables or not source.rows_in("message"):
        return []
    return [name for name in ("chat_id", "role") if name in message and not message[name].nullable]


def widen(connection: "Connection", source: "Source", options: Options) -> list[str]:
    """Make text of the columns that are too short for the source; returns what was done."""
    from psycopg import sql

    from owctl.migrate.convert.mapping import overflows

    changes = []
    for table, column in overflows(source, options):
        statement = sql.SQL("ALTER TABLE {} ALTER COLUMN {} TYPE text").format(
            sql.Identifier("public", table), sql.Identifier(column)
        )
        connection.execute(statement)
        changes.append(f"{table}.{column} is text now: values of the source are longer")
    return changes


def clear(
    connection: "Connection", found: Look, plan: Sequence[TableMap], *, replace: bool
) -> None:
    """Make room: the backend's own ``config`` row, if the source brings one; all, to replace."""
    from psycopg import sql

    if replace and found.filled:
        # In one statement, so that none of them empties another by its foreign keys.
        names = sql.SQL(", ").join(
            sql.Identifier("public", table) for table in found.columns if table != CONFIG_TABLE
        )
        connection.execute(sql.SQL("TRUNCATE {}").format(names))
    if any(table_map.target == CONFIG_TABLE for table_map in plan):
        connection.execute("DELETE FROM public.config")


def set_sequences(
    connection: "Connection", columns: Mapping[str, Mapping[str, ColumnInfo]]
) -> None:
    """Let every sequence go on behind the highest number that was loaded."""
    from psycopg import sql

    for table, column, sequence in connection.execute(_SEQUENCES).fetchall():
        if sequence is None or table not in columns:
            continue
        connection.execute(
            sql.SQL("SELECT setval(%s, max({}), true) FROM {} HAVING max({}) > 0").format(
                sql.Identifier(column), sql.Identifier("public", table), sql.Identifier(column)
            ),
            [sequence],
        )


def mark(connection: "Connection", text: str) -> None:
    """Leave the migration's id in the database, so that a repeated run knows its own work."""
    from psycopg import sql

    statement = sql.SQL('COMMENT ON TABLE public."user" IS {}').format(sql.Literal(_MARK + text))
    connection.execute(statement)


def marked(connection: "Connection") -> str | None:
    """Return the id that a committed load has left, None if there is none."""
    row = connection.execute(
        "SELECT obj_description(to_regclass('public.\"user\"'), 'pg_class')"
    ).fetchone()
    text = str(row[0]) if row and row[0] else ""
    return text.removeprefix(_MARK) if text.startswith(_MARK) else None


def server_failed(error: Exception) -> OwctlError:
    """Return the error for a server that failed outside of a table's rows."""
    return OwctlError(
        f"PostgreSQL failed: {server_words(error)}. Nothing was changed.",
        hint="owctl logs postgres, then the same command again",
    )
