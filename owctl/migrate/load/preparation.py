"""What a load does in its transaction before and after the rows: settings, locks, columns, marks."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from owctl.errors import Locked, OwctlError
from owctl.migrate.convert.model import ColumnInfo, Options, TableMap
from owctl.migrate.load.copying import server_words
from owctl.migrate.load.target import CONFIG_TABLE, Look

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]
    from owctl.migrate.source.database import Source

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
