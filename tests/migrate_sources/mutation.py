"""Puts anything anywhere into a database of the old backend; deterministic by seed."""

import random
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from owctl.migrate.convert.values import quoted

ODD_VALUES: list[object] = [
    None, 0, 1, -1, 2**63 - 1, -(2**63), 1e300, float("inf"), -0.0, "", " ", "null", "[]", "{}",
    '"{}"', '"x"', "NaN", '{"a": NaN}', '{"a": "\\u0000"}', '{"sub": {"sub": 1}}', '{"g": {"sub": "s"}}',
    '{"file_ids": 5}', "[[[[", '{"a":1', "true", "\0", "a\0b", b"", b"\xff\xfe", b"\x00\x01", "é" * 300,
    "x" * 5000, "admin-0001", "user-0002", "shared-plain", "shared-", "ann@example.com", "@",
    "2024-01-01", "2024-01-01 00:00:00", "9999-99-99", "/app/backend/data/uploads/a/../b", "share-1",
    "root", "ring-a", "msg-1", "open", "group-1", "sk-1", 1_730_000_000_000, "1730000000", "字" * 255,
    "\U0001f600" * 100, "1" * 5000, "[" * 2000 + "]" * 2000, 2**53, 1.7e12, "1730000000.5", "0x10", "1_000",
    b"\xed\xa0\x80", "\ufeff{}", '{"a":1}{', '{"a":1,"a":2}', '"\\ud83d"', '"[1]"', "[NaN,-0,-0.0,1E5,1.0e+2]",
    '{"a":' * 1100 + "1" + "}" * 1100, "9999-12-31 23:59:59.999999+14:00", "infinity", "2024-W01", "2024-02-30",
    "\u2028", "\x7f\x80\x1f", "\\.", "\\N", "\t\n\r\\", "\u0130@x.org",
]  # fmt: skip


def mutate(path: Path, choice: random.Random, changes: int) -> None:
    """Put odd values into cells chosen at random."""
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
            raw = "CAST(? AS TEXT)" if isinstance(value, bytes) and choice.random() < 0.5 else "?"
            rowids = [r[0] for r in connection.execute(f"SELECT rowid FROM {quoted(table)}")]
            where = f"rowid = {choice.choice(rowids)}" if rowids else "0"
            connection.execute(
                f"UPDATE OR IGNORE {quoted(table)} SET {quoted(column)} = {raw} WHERE {where}",
                (value,),
            )


_OTHER_NAMES = [
    "rowid",
    "oid",
    "_rowid_",
    "x y",
    "\u00dcn\u00ef",
    'a"b',
    "ID",
    "created_at",
    "api_token",
]
_EXTENSIONS = """
CREATE TABLE keyed (a TEXT PRIMARY KEY, b) WITHOUT ROWID -- of an extension
;INSERT INTO keyed VALUES ('a', 1), ('b', NULL);
CREATE TABLE "c d" (a);CREATE TABLE "c_d" (a);INSERT INTO "c d" VALUES (1);INSERT INTO "c_d" VALUES (1);
CREATE VIRTUAL TABLE found USING fts5 (a);INSERT INTO found VALUES ('x');
CREATE VIEW seen AS SELECT * FROM chat
"""


def mutate_schema(path: Path, choice: random.Random) -> None:
    """Change columns and tables as versions, repairs and extensions do; what SQLite refuses stays."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        tables = [
            r[0] for r in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        for _ in range(3):
            table = choice.choice(sorted(set(tables) - {"user", "my_index"}))
            name = quoted(table)
            columns = [r[1] for r in connection.execute(f"PRAGMA table_info({name})")]
            if not columns:
                continue
            column, other = quoted(choice.choice(columns)), quoted(choice.choice(_OTHER_NAMES))
            statements = choice.choice(
                [
                    f"ALTER TABLE {name} DROP COLUMN {column}",
                    f"ALTER TABLE {name} RENAME COLUMN {column} TO {other}",
                    f"ALTER TABLE {name} ADD COLUMN {other} JSON DEFAULT 5",
                    f"DROP TABLE {name}",
                    f"ALTER TABLE {name} ADD COLUMN made TEXT GENERATED ALWAYS AS (1) VIRTUAL",
                    f"INSERT INTO {name} SELECT * FROM {name}",
                    f"CREATE TABLE copied AS SELECT * FROM {name};DROP TABLE {name};"
                    f"ALTER TABLE copied RENAME TO {name}",
                    _EXTENSIONS,
                ]
            )
            with suppress(sqlite3.Error):
                connection.executescript(statements)
