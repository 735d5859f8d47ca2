"""Texts longer than their column: no row is lost for one that only describes it."""

import sqlite3
from pathlib import Path

import pytest

from owctl.migrate.convert.column_map import COLUMN_MAP, Converted, Notes
from owctl.migrate.convert.mapping import convert, plan_tables
from owctl.migrate.convert.values import fitted
from owctl.migrate.source.database import open_source
from tests.migrate_sources.builder import ADMIN, Builder
from tests.migrate_sources.targets import options, target_columns

# What a row is known by, refers to, or is handled by: no part of it would do.
KEYS = {
    "id", "user_id", "email", "channel_id", "message_id", "base_model_id", "command",
    "function.type", "feedback.type", "message_reaction.name",
}  # fmt: skip
# Settled by rules of their own.
REFERENCES = {"folder_id", "parent_id", "reply_to_id"}
COLUMNS = [
    (table, name)
    for table, columns in target_columns().items()
    for name, column in columns.items()
    if column.max_length and not {name, f"{table}.{name}"} & (KEYS | REFERENCES)
    and not any(c.name == name and c.kind == "constant" for c in COLUMN_MAP[table])
]  # fmt: skip


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_row_is_kept_whatever_describes_it(tmp_path: Path, table: str, column: str):
    builder = Builder(tmp_path / "webui.db", constraints=False)
    builder.user(ADMIN)
    builder.add("channel", id="channel", user_id=ADMIN)
    owner = (
        {"user_id": ADMIN} if "user_id" in builder.columns[table] else {"email": "b@example.com"}
    )
    builder.add(table, **{"id": "long", **owner, column: "字" * 300})
    builder.close()
    choice, notes = options(), Notes()
    with open_source(builder.path) as source:
        table_map = next(each for each in plan_tables(source, choice) if each.target == table)
        rows = {
            row.values[table_map.columns.index("id")]: dict(zip(table_map.columns, row.values, strict=True))
            for row in convert(source, table_map, choice, notes)
            if isinstance(row, Converted)
        }  # fmt: skip
    value = rows[b"long"][column]
    assert value is None or len(str(value, "utf-8")) <= (
        choice.target_columns[table][column].max_length or 0
    )
    assert (table, column) in {(each[0], each[1]) for each in notes}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a" * 10, "a" * 10),
        ("a" * 11, "a" * 9 + "…"),
        ("é" * 11, "é" * 9 + "…"),
        ("👩" * 8 + "\u200d" + "💻" * 5, "👩" * 8 + "…"),
    ],
)
def test_a_name_is_cut_at_a_character(text: str, kept: str):
    assert fitted("user", "name", text.encode(), 10)[0] == kept.encode()


def test_the_name_of_a_file_keeps_its_ending():
    assert fitted("file", "filename", b"n" * 300 + b".pdf", 255)[0] == b"n" * 250 + "….pdf".encode()
    assert fitted("file", "filename", b"." + b"n" * 300, 255)[0] == b"." + b"n" * 253 + "…".encode()


def test_nobody_gets_what_belongs_to_an_account_that_cannot_be_read(tmp_path: Path):
    builder = Builder(tmp_path / "webui.db")
    builder.user(ADMIN)
    for number in range(300):
        builder.user(f"user-{number:04}", bio="b" * 3000)
        builder.add("chat", id=f"chat-{number}", user_id=f"user-{number:04}")
    builder.close()
    with sqlite3.connect(builder.path) as connection:
        leaves = connection.execute(
            "SELECT pageno FROM dbstat WHERE name = 'user' AND pagetype = 'leaf'"
        ).fetchall()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    content = bytearray(builder.path.read_bytes())
    start = (leaves[len(leaves) // 2][0] - 1) * size
    content[start : start + size] = b"\xff" * size
    builder.path.write_bytes(content)
    choice = options(orphans=ADMIN)
    with open_source(builder.path) as source:
        chats = next(each for each in plan_tables(source, choice) if each.target == "chat")
        position = chats.columns.index("user_id")
        results = list(convert(source, chats, choice, Notes()))
    owners = {row.values[position] for row in results if isinstance(row, Converted)}
    assert ADMIN.encode() not in owners
    assert {row.reason for row in results if not isinstance(row, Converted)} == {"owner-rejected"}
