"""What the rules let through, a real PostgreSQL takes; what they refuse, it refuses."""

import json
import random
import secrets
import shutil
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from engine_helpers import wait_until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from owctl.engine.connection import Engine
from owctl.engine.containers import create_container, inspect_container, start_container
from owctl.health.target import find_address
from owctl.migrate.convert import json_text
from owctl.migrate.convert.column_map import Converted, Notes, TableMap
from owctl.migrate.convert.json_text import JsonUnusable, clean_json
from owctl.migrate.convert.mapping import convert, plan_tables
from owctl.migrate.convert.values import characters, clean_text, timestamp
from owctl.migrate.source.database import open_source
from tests.migrate_sources.builder import VERSIONS
from tests.migrate_sources.mutation import mutate
from tests.migrate_sources.targets import TARGETS, options
from tests.migrate_sources.traps import build_with_traps

pytestmark = pytest.mark.engine

SCHEMAS = Path(__file__).parents[2] / "compose" / "demo" / "rust-backend"
PASSWORD = "correct-horse-battery"
TEXTS = st.text(st.characters(exclude_categories=[]) | st.sampled_from('\0\\"u0d8\ud83d\ude00'))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=15,
)
RAW_JSON = st.text(st.sampled_from('{}[],:"\\u0dD8a9 1-.eEtrufalsn\n'), max_size=25)
economical = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def connection(engine: Engine) -> Iterator[psycopg.Connection]:
    name = f"owctl-test-{secrets.token_hex(4)}"
    body = {
        "Image": "owctl-demo-postgres:latest",
        "Env": [f"POSTGRES_PASSWORD={PASSWORD}"],
        "Labels": {"com.docker.compose.project": name},
    }
    identity = create_container(engine, name, body)
    try:
        start_container(engine, identity)
        container = inspect_container(engine, identity)
        assert container is not None
        address = find_address(engine, container, 5432)
        assert address is not None
        opened: list[psycopg.Connection] = []

        def answers() -> bool:
            try:
                opened.append(
                    psycopg.connect(
                        host=address.host, port=address.port, user="postgres", password=PASSWORD,
                        connect_timeout=2, autocommit=True,
                    )
                )  # fmt: skip
            except psycopg.OperationalError:
                return False
            return True

        wait_until(answers, "PostgreSQL answers", timeout_seconds=60)
        with opened[0] as connected:
            yield connected
    finally:
        engine.api.remove_container(identity, force=True, v=True)


def takes(connection: psycopg.Connection, text: bytes, kind: str = "jsonb") -> object:
    """What the server makes of a text, or its refusal."""
    statement = f"SELECT ($1::text)::{kind}::text"
    try:
        row = connection.execute(statement.replace("$1", "%s"), [text.decode()]).fetchone()
    except psycopg.DataError as error:
        return error
    except psycopg.errors.StatementTooComplex as error:
        return error
    assert row is not None
    return row[0]


@economical
@given(VALUES)
def test_what_is_cleaned_is_taken_and_means_the_same(connection: psycopg.Connection, value: object):
    cleaned, _ = clean_json(json.dumps({"v": value}).encode())
    assert cleaned is not None
    taken = takes(connection, cleaned)
    assert isinstance(taken, str)
    assert exact(taken) == exact(cleaned)


def exact(text: str | bytes) -> object:
    """A value with its numbers as they are written: jsonb shows 1e17 with all its digits."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


@economical
@given(RAW_JSON)
def test_the_server_refuses_what_the_rules_refuse(connection: psycopg.Connection, text: str):
    try:
        cleaned, changes = clean_json(text.encode())
    except JsonUnusable:
        assert isinstance(takes(connection, text.encode()), psycopg.Error)
        return
    if cleaned is not None:
        assert isinstance(takes(connection, cleaned), str)
        if not changes:
            assert cleaned == text.encode()


@economical
@given(st.binary())
def test_every_text_that_is_cleaned_is_taken_and_counted_alike(
    connection: psycopg.Connection, raw: bytes
):
    cleaned, _ = clean_text(raw)
    assert cleaned is not None
    row = connection.execute("SELECT length(%s::text)", [cleaned.decode()]).fetchone()
    assert row == (characters(cleaned),)


@pytest.mark.parametrize(
    "number",
    ["1e131071", "1e131072", "10e131071", "0.1e131072", "1e-16383", "1e-16384", "0e-16384", "0e999999",
     "1.5e-16383", "1.5e-16382", "1" * 131_072, "1" * 131_073, "0." + "0" * 16_383 + "1", "1.5e16384"],
    ids=lambda number: number[:12],
)  # fmt: skip
def test_the_limits_of_numeric_are_those_of_the_server(connection: psycopg.Connection, number: str):
    text = f"[{number}]".encode()
    assert (clean_json(text)[1] == ()) == isinstance(takes(connection, text), str)


def test_the_deepest_nesting_that_passes_is_taken(connection: psycopg.Connection):
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        text = opening * json_text.MAXIMUM_DEPTH
        text += b"1" + closing * json_text.MAXIMUM_DEPTH
        assert clean_json(text) == (text, ())
        assert isinstance(takes(connection, text), str)


@economical
@given(st.datetimes())
def test_timestamps_are_taken_as_they_are(connection: psycopg.Connection, moment: datetime):
    text, _ = timestamp(str(moment).encode())
    assert text is not None
    taken = takes(connection, text, "timestamp")
    assert isinstance(taken, str)
    assert datetime.fromisoformat(taken.ljust(26, "0") if "." in taken else taken) == moment


def copied(connection: psycopg.Connection, table_map: TableMap, rows: list[Converted]) -> None:
    """COPY the rows as they were converted; the server checks types, lengths and references."""
    columns = ", ".join(f'"{column}"' for column in table_map.columns)
    with connection.cursor().copy(f'COPY "{table_map.target}" ({columns}) FROM STDIN') as copy:
        for row in rows:
            copy.write(b"\t".join(map(field, row.values)) + b"\n")


def field(value: object) -> bytes:
    if value is None:
        return rb"\N"
    if isinstance(value, bytes):
        for raw, escaped in ((b"\\", rb"\\"), (b"\n", rb"\n"), (b"\r", rb"\r"), (b"\t", rb"\t")):
            value = value.replace(raw, escaped)
        return value
    return str(value).encode()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_server_takes_every_row_that_converts(
    connection: psycopg.Connection, tmp_path: Path, version: str, target: str
):
    template = build_with_traps(tmp_path / "template.db", version, constraints=False).path
    schema = (SCHEMAS / f"schema-{target}.sql").read_text()
    for seed in range(1000, 1006):
        path = Path(shutil.copy(template, tmp_path / "webui.db"))
        mutate(path, random.Random(seed), changes=150)
        choice = options(target, on_duplicate_email="rename")
        with open_source(path) as source, connection.transaction(force_rollback=True):
            connection.execute(schema)
            connection.execute("DELETE FROM config")  # the backend's own
            for table_map in plan_tables(source, choice):
                results = convert(source, table_map, choice, Notes())
                rows = [result for result in results if isinstance(result, Converted)]
                copied(connection, table_map, rows)
                count = connection.execute(f'SELECT count(*) FROM "{table_map.target}"').fetchone()
                assert count == (len(rows),)
