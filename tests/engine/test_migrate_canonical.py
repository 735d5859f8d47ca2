"""What is sent and what PostgreSQL stores give the same hash; what differs does not."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from migrate_postgres import Server, server  # noqa: F401  # a fixture

from owctl.migrate.convert.column_map import TableMap
from owctl.migrate.convert.json_text import TreeReader
from owctl.migrate.load.copying import copy_all
from owctl.migrate.load.target import connect
from owctl.migrate.load.verify import SEVERAL_PROCESSES, RowHasher, ask, digest_query

pytestmark = pytest.mark.engine

KINDS = ("text", "jsonb", "bigint", "boolean", "date", "timestamp without time zone")
MAP = TableMap("sample", ("t", "j", "n", "b", "d", "s"), "sample")
NUMBERS = (
    "0", "-0", "0.0", "-0.0", "-0.0e3", "1.50", "1e5", "1E+5", "1e-7", "12.340e2", "0e9", "1e300",
    "123456789012345678901234567890", "-12345.678901234567890123456789", "5e-324", "0.1", "1e22",
)  # fmt: skip
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))
TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda children: st.lists(children) | st.dictionaries(TEXTS, children),
    max_leaves=20,
)
Row = tuple[bytes | int | bool | None, ...]


@pytest.fixture(scope="module")
def connection(server: Server) -> Iterator[psycopg.Connection[Any]]:  # noqa: F811
    with server.database(None) as target, connect(target) as opened:
        opened.execute(
            "CREATE TABLE sample (t text, j jsonb, n bigint, b boolean, d date, s timestamp)"
        )
        yield opened


def sums(connection: psycopg.Connection[Any]) -> tuple[int, ...]:
    columns = list(zip(MAP.columns, KINDS, strict=True))
    row = connection.execute(digest_query(columns, "sample").encode()).fetchone()
    return tuple(map(int, row))


def both(connection: psycopg.Connection[Any], *rows: Row) -> tuple[RowHasher, tuple[int, ...]]:
    hasher, reader = RowHasher(KINDS), TreeReader()
    primed = RowHasher(KINDS, reader)
    for row in rows:
        hasher.add(row)
        reader.forget()
        if isinstance(row[1], bytes):
            reader.accepts(row[1])
        primed.add(row)
    assert primed.total == hasher.total
    stored = []
    for kinds in ((), KINDS):
        connection.execute("TRUNCATE sample")
        copy_all(connection, MAP, rows, kinds)
        stored.append(sums(connection))
    assert stored[0] == stored[1]
    return hasher, stored[0]


def row_of(text: str | None = None, json_text: str | None = None) -> Row:
    values = (None if value is None else value.encode() for value in (text, json_text))
    return (*values, 2**62, True, b"2024-02-29", b"2024-02-29 01:02:03.5")


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers(connection: psycopg.Connection[Any], number: str) -> None:
    hasher, stored = both(connection, row_of("x", f'{{"a": [{number}]}}'), row_of(None, number))
    assert stored == (2, *hasher.total)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(TEXTS, TREES, st.booleans())
def test_any_text_and_any_json(
    connection: psycopg.Connection[Any], text: str, tree: object, ascii_only: bool
) -> None:
    written = json.dumps(tree, ensure_ascii=ascii_only)
    hasher, stored = both(connection, row_of(text, written), row_of(None, None))
    assert stored == (2, *hasher.total)


def test_keys_are_reordered_and_duplicates_dropped(connection: psycopg.Connection[Any]) -> None:
    document = '{"bb": 1, "a": {"ü": 1, "zz": 2, "z": 3}, "bb": 2.50, "": [], "A": {}}'
    hasher, stored = both(connection, row_of("x", document))
    assert stored == (1, *hasher.total)


def test_an_integer_of_ten_thousand_digits(connection: psycopg.Connection[Any]) -> None:
    hasher, stored = both(connection, row_of("x", "[" + "7" * 10_000 + "]"))
    assert stored == (1, *hasher.total)


@pytest.mark.parametrize(
    "change",
    [
        "SET t = t || ' '",
        "SET t = NULL",
        "SET j = j || '{\"k\": 1}'",
        "SET j = 'null'",
        "SET n = n + 1",
        "SET b = NOT b",
        "SET d = d + 1",
        "SET s = s + '1 microsecond'",
    ],
)
def test_every_change_shows(connection: psycopg.Connection[Any], change: str) -> None:
    hasher, stored = both(connection, row_of("x", "{}"), row_of("y", "{}"))
    assert stored == (2, *hasher.total)
    connection.execute(f"UPDATE sample {change} WHERE t = 'x'".encode())
    assert sums(connection) != (2, *hasher.total)


def test_a_row_twice_in_place_of_another_shows(connection: psycopg.Connection[Any]) -> None:
    hasher, _ = both(connection, row_of("x", "{}"), row_of("y", "{}"))
    connection.execute(b"UPDATE sample SET t = 'x'")
    assert sums(connection)[0] == 2
    assert sums(connection)[1:] != hasher.total


def test_a_large_value_is_sent_in_pieces(connection: psycopg.Connection[Any]) -> None:
    text = "back\\slash\ttab\nline\r" * 60_000
    hasher, stored = both(connection, row_of(text, json.dumps([text])))
    assert stored == (1, *hasher.total)
    assert connection.execute("SELECT length(t) FROM sample").fetchone() == (len(text),)


def test_the_server_makes_each_hash_once(connection: psycopg.Connection[Any]):
    columns = list(zip(MAP.columns, KINDS, strict=True))
    plan = connection.execute(f"EXPLAIN (VERBOSE) {digest_query(columns, 'sample')}".encode())
    (scan,) = [line for line in "\n".join(row[0] for row in plan).split("->") if "Seq Scan" in line]
    assert "Output: sha256(" in scan, "made by the scan, not by each sum"


def test_several_processes_may_share_the_work(connection: psycopg.Connection[Any]):
    connection.execute("TRUNCATE sample")
    row: Row = (b"x" * 500, b"{}", 1, True, None, None)
    hasher, _ = both(connection, *[row] * 3000)
    columns = list(zip(MAP.columns, KINDS, strict=True))
    with connection.transaction():
        connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        assert ask(connection, digest_query(columns, "sample"), None)[1:] == hasher.total
        for setting in SEVERAL_PROCESSES:
            connection.execute(setting)
        plan = connection.execute(f"EXPLAIN {digest_query(columns, 'sample')}".encode()).fetchall()
    assert any("Parallel Seq Scan" in line for (line,) in plan)
