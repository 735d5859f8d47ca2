"""Opening the old database: in use, locked, damaged, encrypted, of another version."""

import json
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from owctl.errors import OwctlError
from owctl.migrate.convert.column_map import Converted, Notes, Reject
from owctl.migrate.convert.mapping import convert, plan_tables
from owctl.migrate.report.results import unmapped, unmapped_results
from owctl.migrate.source.database import HEAD_0_6_32, HEAD_0_6_43, open_source
from tests.migrate_sources.builder import ADMIN, Builder
from tests.migrate_sources.targets import options

# A backend that dies in the middle: what it wrote is in the log or the journal only.
CRASH = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(f"PRAGMA journal_mode = {sys.argv[2]}")
connection.execute("PRAGMA cache_size = 5")
connection.execute("BEGIN")
for number in range(400):
    connection.execute("UPDATE chat SET title = ? WHERE rowid = ?", ("x" * 3000, number))
if sys.argv[3] == "commit":
    connection.execute("COMMIT")
os._exit(0)
"""


def small_database(path: Path, chats: int = 20, size_bytes: int = 2000) -> Path:
    builder = Builder(path)
    builder.user(ADMIN)
    builder.chats(chats, size_bytes)
    return builder.close().path


def folder_state(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.parent.iterdir()}


def crash(path: Path, mode: str, end: str) -> None:
    subprocess.run([sys.executable, "-c", CRASH, str(path), mode, end], check=True)


def titles(path: Path) -> list[bytes]:
    with open_source(path) as source:
        return [row[1][0] for row in source.rows("chat", ("title",))]


def test_version_by_head_and_columns(tmp_path: Path):
    for version, head in (("0.6.32", HEAD_0_6_32), ("0.6.43", HEAD_0_6_43)):
        path = Builder(tmp_path / version, version).close().path
        with open_source(path) as source:
            assert (source.version.name, source.version.head) == (version, head)
            assert source.version.state == "known"


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ("UPDATE alembic_version SET version_num = 'ffffffffffff'", "newer"),
        ("DROP TABLE alembic_version", "newer"),
        ("UPDATE alembic_version SET version_num = '38d63c18f30f'", "older"),
        ("ALTER TABLE message DROP COLUMN reply_to_id", "incomplete"),
        ("DROP TABLE note", "incomplete"),
        ("UPDATE alembic_version SET version_num = '2f1211949ecc'", "known"),
    ],
)
def test_other_versions_are_told_apart(tmp_path: Path, statement: str, state: str):
    path = small_database(tmp_path / "webui.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
    with open_source(path) as source:
        assert source.version.state == state
        if state == "known":
            assert plan_tables(source, options())
            return
        with pytest.raises(OwctlError) as caught:
            plan_tables(source, options())
        hint = {
            "newer": "--allow-unknown",
            "older": "start Open WebUI 0.6.32",
            "incomplete": "whole copy",
        }
        assert hint[state] in str(caught.value.hint)
        if state != "older":
            assert plan_tables(source, options(allow_unknown=True))


def test_without_accounts_nothing_is_taken(tmp_path: Path):
    path = small_database(tmp_path / "webui.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute('DROP TABLE "user"')
    with open_source(path) as source, pytest.raises(OwctlError) as caught:
        plan_tables(source, options(allow_unknown=True))
    assert "missing: user.id" in caught.value.details


ODD_TABLES = """
ALTER TABLE chat ADD COLUMN loud TEXT GENERATED ALWAYS AS (upper(title)) VIRTUAL;
CREATE TABLE keyed (key TEXT PRIMARY KEY, word) WITHOUT ROWID -- of an extension
;
CREATE TABLE named (rowid TEXT, word);
CREATE TABLE taken (rowid, _rowid_, oid, word);
CREATE TABLE strict (word TEXT) STRICT;
CREATE VIRTUAL TABLE found USING fts5(word);
CREATE VIEW seen AS SELECT * FROM nowhere;
CREATE TRIGGER stopped BEFORE UPDATE ON chat BEGIN SELECT RAISE(ABORT, 'no'); END;
INSERT INTO keyed VALUES ('b', 'second'), ('a', 'first');
INSERT INTO named VALUES (NULL, 'first'), ('x', 'second'), ('x', 'third');
INSERT INTO taken VALUES (1, 1, 1, 'first'), (1, 1, 1, 'second');
INSERT INTO strict VALUES ('first');
INSERT INTO found VALUES ('first');
"""


def test_tables_of_any_make_are_read_whole(tmp_path: Path):
    path = small_database(tmp_path / "webui.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(ODD_TABLES)
    with open_source(path) as source:
        plan_tables(source, options())
        found = [reject for reject in unmapped(source) if reject.reason == "unknown-table"]
        for table in ("keyed", "named", "taken", "strict"):
            words = [reject.row["word"] for reject in found if reject.source_table == table]
            assert words == ["first", "second", "third"][: source.rows_in(table)], table
        assert source.rows_in("found_content") == 1
        assert "seen" not in source.tables


def test_no_two_tables_share_a_file_of_rejects(tmp_path: Path):
    names = ["a b", "a_b", "a/b", "..", "é" * 90, "é" * 91, "a\nb"]
    path = small_database(tmp_path / "webui.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        for name in names:
            connection.execute(f'CREATE TABLE "{name}" (word)')
            connection.execute(f'INSERT INTO "{name}" VALUES (?)', (f"{name}\x85\u2028",))
    with open_source(path) as source:
        plan_tables(source, options())
        unmapped_results(source, options(), tmp_path / "rejects")
    lines = [
        json.loads(line)
        for file in (tmp_path / "rejects").iterdir()
        for line in file.read_text().splitlines()
    ]
    assert sorted(line["table"] for line in lines if line["reason"] == "unknown-table") == sorted(
        names
    )


def test_another_database_is_refused(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection, connection:
        connection.execute("CREATE TABLE songs (id INTEGER)")
    with (
        open_source(tmp_path / "other.db") as source,
        pytest.raises(OwctlError, match="not one of Open WebUI"),
    ):
        plan_tables(source, options())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (b"-- PostgreSQL database dump\n" * 9, "is no SQLite database"),
        (random.Random(1).randbytes(4096), "encrypted"),
    ],
)
def test_what_is_no_database_is_refused_with_the_reason(
    tmp_path: Path, content: bytes | None, message: str
):
    path = tmp_path / "webui.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OwctlError, match=message) as caught:
        open_source(path)
    assert caught.value.hint


def test_a_folder_is_refused(tmp_path: Path):
    with pytest.raises(OwctlError, match="a folder"):
        open_source(tmp_path)


def test_what_a_live_writer_has_only_in_its_log_is_read(tmp_path: Path):
    path = small_database(tmp_path / "webui.db")
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("UPDATE chat SET title = 'new'")
        writer.commit()
        before = folder_state(path)
        assert set(titles(path)) == {b"new"}
        assert folder_state(path) == before  # the readers' marks in -shm, too
        writer.execute("UPDATE chat SET title = 'not committed'")
        assert set(titles(path)) == {b"new"}
        writer.rollback()
        writer.execute("UPDATE chat SET title = 'goes on'")
        writer.commit()


def test_a_log_left_by_a_crash_is_read_and_left_alone(tmp_path: Path):
    path = small_database(tmp_path / "webui.db", chats=400, size_bytes=200)
    crash(path, "WAL", "commit")
    (tmp_path / "webui.db-shm").unlink()
    before = folder_state(path)
    assert "webui.db-wal" in before
    assert sum(title == b"x" * 3000 for title in titles(path)) == 399
    assert folder_state(path) == before


def test_a_half_written_transaction_is_not_read(tmp_path: Path):
    path = small_database(tmp_path / "webui.db", chats=400, size_bytes=200)
    crash(path, "DELETE", "nothing")
    before = folder_state(path)
    assert before["webui.db-journal"]
    assert not any(title == b"x" * 3000 for title in titles(path))
    assert folder_state(path) == before


def test_a_database_at_rest_in_wal_mode_gets_no_side_files(tmp_path: Path):
    path = small_database(tmp_path / "webui.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    before = folder_state(path)
    assert list(before) == ["webui.db"]
    assert len(titles(path)) == 20
    assert folder_state(path) == before


def test_a_database_that_stays_locked_is_an_error(tmp_path: Path):
    path = small_database(tmp_path / "webui.db")
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OwctlError, match="stayed locked") as caught:
            open_source(path, lock_wait_seconds=0.3)
        assert "stop the old backend" in str(caught.value.hint)
    assert len(titles(path)) == 20


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_copy_is_consistent_while_a_backend_writes(tmp_path: Path, mode: str):
    path = small_database(tmp_path / "webui.db", chats=200, size_bytes=20_000)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        with open_source(path) as source:
            assert not source.damaged
            found = {row[1][0] for row in source.rows("chat", ("title",))}
        assert len(found) == 1  # all of one transaction
    finally:
        writer.kill()
        writer.communicate()


WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30)
number = 0
while True:
    number += 1
    connection.execute("UPDATE chat SET title = ?", (str(number),))
    connection.commit()
    if number == 1:
        print("writing", flush=True)
"""


def damage(path: Path, *, pages: int, seed: int, first: int = 30) -> None:
    content = bytearray(path.read_bytes())
    choice = random.Random(seed)
    for _ in range(pages):
        at = choice.randrange(first, len(content) // 4096) * 4096
        content[at : at + 4096] = choice.randbytes(4096)
    path.write_bytes(content)


@pytest.mark.parametrize("seed", range(6))
def test_rows_on_damaged_pages_are_rejected_and_the_others_kept(tmp_path: Path, seed: int):
    path = small_database(tmp_path / "webui.db", chats=300, size_bytes=1500)
    with closing(sqlite3.connect(path)) as connection:
        every = {row[0].encode() for row in connection.execute("SELECT id FROM chat")}
        first = 2 + connection.execute("SELECT max(rootpage) FROM sqlite_master").fetchone()[0]
    damage(path, pages=5, seed=seed, first=first)
    with open_source(path) as source:
        assert source.damaged
        assert source.integrity
        choice = options()
        chats = next(m for m in plan_tables(source, choice) if m.target == "chat")
        results = list(convert(source, chats, choice, Notes()))
        assert len(results) == source.rows_in("chat")
    kept = {result.values[0] for result in results if isinstance(result, Converted)}
    lost = [result for result in results if isinstance(result, Reject)]
    assert kept <= every
    assert len(kept) + len(lost) >= 295
    assert len(kept) >= 250
    assert lost
    assert {reject.reason for reject in lost} <= {"unreadable", "invalid-json", "orphan-user"}


def test_a_database_whose_end_is_missing_is_read_as_far_as_it_goes(tmp_path: Path):
    path = small_database(tmp_path / "webui.db", chats=300, size_bytes=3000)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 // 4096 * 4096])
    with open_source(path) as source:
        assert source.damaged
        choice = options()
        chats = next(m for m in plan_tables(source, choice) if m.target == "chat")
        results = list(convert(source, chats, choice, Notes()))
    assert sum(isinstance(result, Converted) for result in results) > 50


def test_damage_to_the_first_page_is_an_error(tmp_path: Path):
    path = small_database(tmp_path / "webui.db")
    content = bytearray(path.read_bytes())
    content[100:4096] = random.Random(1).randbytes(3996)
    path.write_bytes(content)
    with pytest.raises(OwctlError, match="cannot read") as caught:
        open_source(path)
    assert "recover" in str(caught.value.hint)


def test_no_room_for_the_copy_is_said_before_it_is_made(tmp_path: Path, monkeypatch):
    path = small_database(tmp_path / "webui.db")
    room = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    folder = tmp_path / "temporary"
    folder.mkdir()
    with pytest.raises(OwctlError, match=r"kB needed, 1\.0 kB free") as caught:
        open_source(path, folder=folder)
    assert "TMPDIR" in (caught.value.hint or "")
    assert list(folder.iterdir()) == []


def test_the_private_copy_is_removed(tmp_path: Path):
    path = small_database(tmp_path / "webui.db")
    (tmp_path / "copies").mkdir()
    with open_source(path, folder=tmp_path / "copies"):
        assert len(list((tmp_path / "copies").iterdir())) == 1
    assert not list((tmp_path / "copies").iterdir())
    with pytest.raises(OwctlError):
        open_source(tmp_path / "none.db", folder=tmp_path / "copies")
    assert not list((tmp_path / "copies").iterdir())


MEASURE = """
import resource, sys
from pathlib import Path
from owctl.migrate.convert.mapping import convert, plan_tables
from owctl.migrate.convert.column_map import Notes
from owctl.migrate.report.results import unmapped_results
from owctl.migrate.source.database import open_source
from owctl.migrate.report.results import unmapped
from tests.migrate_sources.targets import options

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

before, choice = peak(), options()
with open_source(Path(sys.argv[1])) as source:
    for table_map in plan_tables(source, choice):
        for row in convert(source, table_map, choice, Notes()):
            del row
print(peak() - before)
"""


@pytest.mark.parametrize(
    "end",
    [b"\\u0000", "\N{GRINNING FACE}".encode(), "\N{GRINNING FACE}".encode() + b"\xff"],
    ids=["nul", "wide", "wide and no UTF-8"],
)
def test_a_large_row_takes_a_few_times_its_size(tmp_path: Path, end: bytes):
    size_bytes = 40_000_000
    builder = Builder(tmp_path / "webui.db")
    builder.user(ADMIN)
    content = b'{"a": "' + b"word " * (size_bytes // 5) + end + b'"}'
    for number in range(2):
        builder.add("chat", id=f"large-{number}", user_id=ADMIN)
        builder.text("chat", "chat", f"large-{number}", content)
    builder.close()
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, str(builder.path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(result.stdout) < 64 * 1024 * 1024 + 4 * size_bytes


def test_every_table_of_a_damaged_database_is_looked_at(tmp_path: Path):
    path = small_database(tmp_path / "webui.db", chats=300, size_bytes=5000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20_000] = b"\xff" * 20_000
    path.write_bytes(content)
    with open_source(path) as source:
        assert source.damaged
        counted = {table: source.rows_in(table) for table in source.tables}
    assert counted["chat"] == 300
    assert counted["tag"] == 0


@pytest.mark.parametrize("private", [False, True])
def test_a_file_that_was_cut_off_is_damaged_even_where_sqlite_does_not_mind(
    tmp_path: Path, private: bool
):
    path = small_database(tmp_path / "webui.db")
    path.write_bytes(path.read_bytes()[:-1234])
    with open_source(path, private=private) as source:
        assert any("cut off" in line for line in source.integrity)
