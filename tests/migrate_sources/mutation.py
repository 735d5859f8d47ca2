"""Puts anything anywhere into a database of the old backend; deterministic by seed."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

from owctl.migrate.identifiers import quoted

ODD_VALUES: list[object] = [
    None, 0, 1, -1, 2**63 - 1, -(2**63), 1e300, float("inf"), -0.0, "", " ", "null", "[]", "{}",
    '"{}"', '"x"', "NaN", '{"a": NaN}', '{"a": "\\u0000"}', '{"sub": {"sub": 1}}', '{"g": {"sub": "s"}}',
    '{"file_ids": 5}', "[[[[", '{"a":1', "true", "\0", "a\0b", b"", b"\xff\xfe", b"\x00\x01", "é" * 300,
    "x" * 5000, "admin-0001", "user-0002", "shared-plain", "shared-", "ann@example.com", "@",
    "2024-01-01", "2024-01-01 00:00:00", "9999-99-99", "/app/backend/data/uploads/a/../b", "share-1",
    "root", "ring-a", "msg-1", "open", "group-1", "sk-1", 1_730_000_000_000, "1730000000", "字" * 255,
    "\U0001f600" * 100, "1" * 5000, "[" * 2000 + "]" * 2000,
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
