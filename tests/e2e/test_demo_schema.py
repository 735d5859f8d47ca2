"""The demonstration backend's database has the tables of the real one, to the column."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.conftest import Project

pytestmark = pytest.mark.e2e

DATA = Path(__file__).parents[1] / "data"
SQL = Path(__file__).parents[2] / "compose" / "demo" / "rust-backend"
COLUMNS = """
    SELECT table_name, column_name, data_type, character_maximum_length,
           is_nullable = 'YES', column_default
    FROM information_schema.columns
    WHERE table_schema = current_schema()
    ORDER BY table_name, ordinal_position
"""
CONSTRAINTS = """
    SELECT relname, pg_get_constraintdef(pg_constraint.oid)
    FROM pg_constraint
    JOIN pg_class ON pg_class.oid = conrelid
    WHERE pg_class.relnamespace = current_schema()::regnamespace AND contype IN ('p', 'u', 'f')
"""


def schema_of(connection: psycopg.Connection) -> dict[str, Any]:
    """Describe every table as the files in the data folder do."""
    tables: dict[str, Any] = {}
    for table, column, kind, length, nullable, default in connection.execute(COLUMNS):
        entry = tables.setdefault(table, {"columns": {}, "constraints": []})
        described = {
            "type": f"varchar({length})" if kind == "character varying" else kind,
            "nullable": nullable,
        }
        entry["columns"][column] = described | ({} if default is None else {"default": default})
    for table, definition in connection.execute(CONSTRAINTS):
        tables[table]["constraints"].append(definition)
    for entry in tables.values():
        entry["constraints"].sort()
    return tables


def expected(version: str) -> dict[str, Any]:
    return json.loads((DATA / f"target-schema-{version}.json").read_text())


@pytest.fixture
def connection(demo_stack: Project) -> Iterator[psycopg.Connection]:
    environment = demo_stack.environment
    with psycopg.connect(
        host="127.0.0.1",
        port=demo_stack.ports["postgres"],
        user=environment.get("POSTGRES_USER", "open_webui"),
        password=environment["POSTGRES_PASSWORD"],
        dbname=environment.get("POSTGRES_DB", "open_webui"),
    ) as connection:
        yield connection


def test_the_running_stack_has_the_current_schema(connection: psycopg.Connection) -> None:
    assert schema_of(connection) == expected("001-010")
    assert connection.execute("SELECT count(*) FROM config").fetchone() == (1,)


def test_the_older_schema_is_the_older_backends(connection: psycopg.Connection) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("CREATE SCHEMA older")
        connection.execute("SET LOCAL search_path = older")
        for _ in range(2):  # the backend applies it at each start
            connection.execute((SQL / "schema-001-006.sql").read_bytes())
        assert schema_of(connection) == expected("001-006")
        assert connection.execute("SELECT count(*) FROM config").fetchone() == (1,)
