"""Databases with anything anywhere: every row accounted for, every value fit for its column."""

import json
import random
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from owctl.migrate.identifiers import quoted
from owctl.migrate.mapping import convert, overflows, plan_tables
from owctl.migrate.model import Notes, Options, Reject
from owctl.migrate.rejects import to_json_line
from owctl.migrate.report_model import describe
from owctl.migrate.source import open_source
from owctl.migrate.unmapped import unmapped
from tests.migrate_sources.builder import ADMIN, VERSIONS
from tests.migrate_sources.targets import TARGETS, options
from tests.migrate_sources.traps import build_with_traps

ODD_VALUES: list[object] = [
    None, 0, 1, -1, 2**63 - 1, -(2**63), 1e300, float("inf"), -0.0, "", " ", "null", "[]", "{}",
    '"{}"', '"x"', "NaN", '{"a": NaN}', '{"a": "\\u0000"}', '{"sub": {"sub": 1}}', '{"g": {"sub": "s"}}',
    '{"file_ids": 5}', "[[[[", '{"a":1', "true", "\0", "a\0b", b"", b"\xff\xfe", b"\x00\x01", "é" * 300,
    "x" * 5000, "admin-0001", "user-0002", "shared-plain", "shared-", "ann@example.com", "@",
    "2024-01-01", "2024-01-01 00:00:00", "9999-99-99", "/app/backend/data/uploads/a/../b", "share-1",
    "root", "ring-a", "msg-1", "open", "group-1", "sk-1", 1_730_000_000_000, "1730000000", "字" * 255,
    "\U0001f600" * 100, "1" * 5000, "[" * 2000 + "]" * 2000,
]  # fmt: skip
UNIQUE = (("user", "email"), ("auth", "email"), ("user", "api_key"), ("user", "oauth_sub"),
          ("chat", "share_id"))  # fmt: skip
FOREIGN = (("auth", "id", "user"), ("channel_member", "channel_id", "channel"),
           ("message_reaction", "message_id", "message"), ("folder", "parent_id", "folder"))  # fmt: skip


@dataclass
class Outcome:
    rows: dict[str, list[dict[str, Any]]]
    rejects: list[Reject]


def mutate(path: Path, choice: random.Random, changes: int) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        tables = [
            r[0] for r in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        tables = [table for table in tables if table not in ("alembic_version", "my_index")]
        for _ in range(changes):
            table = choice.choice(tables)
            column = choice.choice(
                [r[1] for r in connection.execute(f"PRAGMA table_info({quoted(table)})")]
            )
            value = choice.choice(ODD_VALUES)
            where = "rowid = (SELECT rowid FROM {0} ORDER BY abs(random() % 99) LIMIT 1)"
            raw = "CAST(? AS TEXT)" if isinstance(value, bytes) and choice.random() < 0.5 else "?"
            rowids = [r[0] for r in connection.execute(f"SELECT rowid FROM {quoted(table)}")]
            where = f"rowid = {choice.choice(rowids)}" if rowids else "0"
            connection.execute(
                f"UPDATE OR IGNORE {quoted(table)} SET {quoted(column)} = {raw} WHERE {where}",
                (value,),
            )


def outcome(path: Path, choice: Options) -> Outcome:
    with open_source(path) as source:
        rows: dict[str, list[dict[str, Any]]] = {}
        rejects: list[Reject] = []
        counted: Counter[str] = Counter()
        for table_map in plan_tables(source, choice):
            found = rows.setdefault(table_map.target, [])
            for result in convert(source, table_map, choice, Notes()):
                counted[table_map.source] += 1
                if isinstance(result, Reject):
                    rejects.append(result)
                else:
                    found.append(dict(zip(table_map.columns, result.values, strict=True)))
        for reject in unmapped(source):
            counted[reject.source_table] += 1
            rejects.append(reject)
        assert counted == {t: source.rows_in(t) for t in source.tables if source.rows_in(t)}
        overflows(source, choice)
        describe(source, choice)
    return Outcome(rows, rejects)


def check_values(found: Outcome, choice: Options) -> None:
    for table, rows in found.rows.items():
        for row in rows:
            for column, value in row.items():
                info = choice.target_columns[table][column]
                assert value is not None or info.nullable, (table, column)
                if isinstance(value, bytes):
                    text = value.decode()
                    assert "\0" not in text
                    assert info.max_length is None or len(text) <= info.max_length
                    if info.data_type == "jsonb":
                        assert (
                            len(text) > 3000
                            or json.loads(text, parse_constant=pytest.fail) is not None
                        )
                elif info.data_type == "bigint" and value is not None:
                    assert -(2**63) <= value < 2**63


def check_keys(found: Outcome) -> None:
    rows = found.rows
    ids = {t: {row.get("id", row.get("command")) for row in found} for t, found in rows.items()}
    for table, keys in ids.items():
        assert len(keys) == len(rows[table])
        assert all(row["user_id"] in ids["user"] for row in rows[table] if "user_id" in row)
    for table, column in UNIQUE:
        values = [row[column] for row in rows[table] if row[column] is not None]
        assert len(set(values)) == len(values), (table, column)
    for table, column, target in FOREIGN:
        assert {row[column] for row in rows[table]} - {None} <= ids[target]
    parents = {row["id"]: row["parent_id"] for row in rows["folder"]}
    for folder in parents:
        steps = 0
        at = folder
        while parents.get(at) is not None:
            at, steps = parents[at], steps + 1
            assert steps <= len(parents)


@pytest.fixture(scope="module", params=VERSIONS)
def template(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "webui.db"
    return build_with_traps(path, request.param, constraints=False).path


@pytest.mark.parametrize("seed", range(15))
def test_anything_anywhere_is_accounted_for_and_fits(template: Path, tmp_path: Path, seed: int):
    choice = random.Random(seed)
    path = Path(shutil.copy(template, tmp_path / "webui.db"))
    mutate(path, choice, changes=150)
    chosen = options(
        choice.choice(TARGETS),
        on_duplicate_email="rename",
        keep_share_links=choice.random() < 0.3,
        allow_unknown=True,
    )
    found = outcome(path, chosen)
    check_values(found, chosen)
    check_keys(found)
    for reject in found.rejects:
        line = to_json_line(reject)
        assert "\n" not in line
        assert json.loads(line)["reason"] == reject.reason
        assert "secret-" not in line


def test_orphans_of_any_kind_find_their_heir(template: Path, tmp_path: Path):
    path = Path(shutil.copy(template, tmp_path / "webui.db"))
    mutate(path, random.Random(99), changes=150)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            'UPDATE "user" SET id = ?, email = ? WHERE rowid = 1', (ADMIN, "admin@example.com")
        )
    chosen = options(on_duplicate_email="rename", orphans=ADMIN)
    found = outcome(path, chosen)
    check_keys(found)
    assert {r.source_table for r in found.rejects if r.reason == "orphan-user"} <= {
        "auth",
        "group_member",
        "api_key",
    }
