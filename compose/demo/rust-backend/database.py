"""The database: waits for it, makes it and its tables, and hands out connections."""

import asyncio
import json
import logging
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

WAIT_SECONDS = 60
SCHEMA_LOCK = 20240610  # any number; two backends that start at once must not both make the tables

log = logging.getLogger("backend.database")


async def open_pool(database_url: str, schema: str, size: int) -> asyncpg.Pool:
    """Return connections to a database that has its tables; ends the process if that can't be had."""
    await _wait_until_usable(database_url)
    pool = await asyncpg.create_pool(
        database_url, min_size=1, max_size=size, command_timeout=60, init=_read_json
    )
    statements = Path(__file__).with_name(f"schema-{schema}.sql").read_text()
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", SCHEMA_LOCK)
        await connection.execute("SET LOCAL client_min_messages = warning")
        await connection.execute(statements)
    log.info("The database has the tables of schema %s.", schema)
    return pool


async def _wait_until_usable(database_url: str) -> None:
    address = urlsplit(database_url)
    deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
    while True:
        try:
            connection = await asyncpg.connect(database_url, timeout=5)
        except asyncpg.InvalidCatalogNameError:
            await _create_database(database_url)
        except (
            asyncpg.InvalidPasswordError,
            asyncpg.InvalidAuthorizationSpecificationError,
        ):
            raise SystemExit(
                f"PostgreSQL at {address.hostname} refuses the password of user "
                f"{address.username}. Its volume may have been made with another password."
            ) from None
        except (TimeoutError, OSError, asyncpg.PostgresError) as error:
            if asyncio.get_running_loop().time() > deadline:
                raise SystemExit(
                    f"PostgreSQL at {address.hostname} can't be reached: {error}"
                ) from None
            log.warning("Waiting for PostgreSQL at %s: %s", address.hostname, error)
            await asyncio.sleep(0.5)
        else:
            await connection.close()
            return


async def _create_database(database_url: str) -> None:
    address = urlsplit(database_url)
    name = address.path.lstrip("/")
    connection = await asyncpg.connect(urlunsplit(address._replace(path="/postgres")), timeout=5)
    try:
        await connection.execute('CREATE DATABASE "{}"'.format(name.replace('"', '""')))
    except asyncpg.DuplicateDatabaseError:
        pass
    finally:
        await connection.close()


async def _read_json(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
    )
