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

from owctl.migrate.convert.column_map import Notes, Options, Reject
from owctl.migrate.convert.mapping import convert, overflows, plan_tables
from owctl.migrate.convert.values import nothing
from owctl.migrate.report.model import CHANGES, REJECTIONS, describe
from owctl.migrate.report.rejects import to_json_line
from owctl.migrate.report.results import unmapped
from owctl.migrate.source.database import open_source
from tests.migrate_sources.builder import ADMIN, VERSIONS
from tests.migrate_sources.mutation import mutate, mutate_schema
from tests.migrate_sources.targets import TARGETS, options
from tests.migrate_sources.traps import build_with_traps

UNIQUE = (("user", "email"), ("auth", "email"), ("user", "api_key"), ("user", "oauth_sub"),
          ("chat", "share_id"))  # fmt: skip
FOREIGN = (("auth", "id", "user"), ("channel_member", "channel_id", "channel"),
           ("message_reaction", "message_id", "message"), ("folder", "parent_id", "folder"))  # fmt: skip


@dataclass
class Outcome:
    rows: dict[str, list[dict[str, Any]]]
    rejects: list[Reject]
    kinds: set[str]


def outcome(path: Path, choice: Options) -> Outcome:
    with open_source(path) as source:
        rows: dict[str, list[dict[str, Any]]] = {}
        rejects: list[Reject] = []
        counted: Counter[str] = Counter()
        notes = Notes()
        for table_map in plan_tables(source, choice):
            found = rows.setdefault(table_map.target, [])
            for result in convert(source, table_map, choice, notes):
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
    return Outcome(rows, rejects, {kind for _, _, kind, _ in notes})


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
                            # Only where the new backend reads it.
                            or nothing(table, column) == b"null"
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
    assert found.kinds <= CHANGES.keys()
    assert {reject.reason for reject in found.rejects} <= REJECTIONS.keys()


@pytest.mark.parametrize("seed", range(15))
def test_tables_of_any_form_are_accounted_for(template: Path, tmp_path: Path, seed: int):
    choice = random.Random(seed)
    path = Path(shutil.copy(template, tmp_path / "webui.db"))
    mutate_schema(path, choice)
    chosen = options(on_duplicate_email="rename", allow_unknown=True)
    check_values(outcome(path, chosen), chosen)


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
