"""The load against a real PostgreSQL: all or nothing, every row accounted for, the same each time."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_helpers import wait_until
from migrate_postgres import Server, server  # noqa: F401  # a fixture

from owctl.errors import Locked, OwctlError
from owctl.migrate.convert.column_map import Options
from owctl.migrate.load import target as loading_target
from owctl.migrate.load.load import LoadRequest, load
from owctl.migrate.load.target import Target, connect, look, refuse_without_tables
from owctl.migrate.load.verify import VerificationFailed
from owctl.migrate.report.results import LoadResult
from owctl.migrate.source.database import open_source
from tests.migrate_sources.builder import ADMIN, VERSIONS, Builder
from tests.migrate_sources.traps import USER, build_with_traps

pytestmark = pytest.mark.engine

TARGETS = ("001-010", "001-006")


@pytest.fixture
def target(server: Server) -> Iterator[Target]:  # noqa: F811
    with server.database() as made:
        yield made


def load_into(target: Target, path: Path, folder: Path, **changes: Any) -> LoadResult:
    request_changes = {k: changes.pop(k) for k in ("replace", "before_commit") if k in changes}
    with connect(target) as connection, open_source(path) as source:
        options = Options(look(connection).columns, **changes)
        return load(connection, LoadRequest(source, options, folder, "this-one", **request_changes))


def content(target: Target) -> dict[str, list[str]]:
    """Every row of every table as the server writes it."""
    with connect(target) as connection:
        return {
            table: [
                row[0]
                for row in connection.execute(
                    f'SELECT t::text FROM public."{table}" t ORDER BY 1'.encode()
                )
            ]
            for table in look(connection).columns
        }


def rejects_in(folder: Path) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for path in (folder / "rejects").glob("*.jsonl"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for line in path.read_text().splitlines():
            document = json.loads(line)
            found[document["table"], document["reason"]] += 1
    return found


def small_source(path: Path, chats: int = 3, size_bytes: int = 500) -> Path:
    builder = Builder(path)
    builder.user(USER, "person@example.org")
    builder.chats(chats, size_bytes, (USER,))
    builder.close()
    return path


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("schema", TARGETS)
def test_every_trap_loads_or_is_rejected(
    server: Server,  # noqa: F811
    tmp_path: Path,
    version: str,
    schema: str,
) -> None:
    traps = build_with_traps(tmp_path / "webui.db", version)
    with server.database(schema) as made:
        result = load_into(made, traps.path, tmp_path)
        stored = {table: len(rows) for table, rows in content(made).items()}
    assert result.schema == schema
    assert rejects_in(tmp_path) == +traps.rejects
    for table in result.tables:
        assert table.source_rows == table.inserted + table.rejected
        if table.target is not None:
            assert stored[table.target] == table.inserted
    with open_source(traps.path) as source:
        assert {t.source: t.source_rows for t in result.tables} == {
            name: source.rows_in(name)
            for name in source.tables
            if source.rows_in(name) or name in {t.source for t in result.tables}
        }
    relaxed = {change.split()[0] for change in result.changes}
    assert relaxed == ({"message.chat_id", "message.role"} if schema == "001-006" else set())


def test_the_backends_own_config_is_replaced_and_its_sequence_goes_on(
    target: Target, tmp_path: Path
) -> None:
    traps = build_with_traps(tmp_path / "webui.db")
    load_into(target, traps.path, tmp_path)
    with connect(target) as connection, open_source(traps.path) as source:
        stored = connection.execute("SELECT array_agg(id ORDER BY id) FROM config").fetchone()
        assert stored is not None
        assert stored[0] == [row[0] for row in source.query("SELECT id FROM config ORDER BY id")]
        added = connection.execute(
            "INSERT INTO config (data, version) VALUES ('{}', 0) RETURNING id"
        ).fetchone()
    assert added == (max(stored[0]) + 1,)


def test_a_second_load_is_refused_and_a_replacing_one_gives_the_same(
    target: Target, tmp_path: Path
) -> None:
    traps = build_with_traps(tmp_path / "webui.db")
    load_into(target, traps.path, tmp_path)
    once = content(target)
    with pytest.raises(OwctlError, match="not empty") as refused:
        load_into(target, traps.path, tmp_path)
    assert "--replace" in str(refused.value.hint)
    assert content(target) == once
    load_into(target, traps.path, tmp_path, replace=True)
    assert content(target) == once


def test_a_database_without_the_tables_is_refused(server: Server) -> None:  # noqa: F811
    with server.database(None) as made, connect(made) as connection:
        found = look(connection)
    assert found.schema == "unknown"
    with pytest.raises(OwctlError, match="no tables of Open WebUI"):
        refuse_without_tables(found, "rust-backend")


def test_an_empty_source_loads(target: Target, tmp_path: Path) -> None:
    Builder(tmp_path / "webui.db").close()
    result = load_into(target, tmp_path / "webui.db", tmp_path)
    assert sum(table.inserted for table in result.tables if table.target != "config") <= 1


def test_a_writer_keeps_the_load_out(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small_source(tmp_path / "webui.db")
    original = loading_target.configure

    def impatient(connection: Any) -> None:
        original(connection)
        connection.execute("SET LOCAL lock_timeout = '300ms'")

    monkeypatch.setattr(loading_target, "configure", impatient)
    with connect(target) as other, other.transaction():
        other.execute("LOCK TABLE tag IN ROW EXCLUSIVE MODE")
        with pytest.raises(Locked):
            load_into(target, path, tmp_path)
    load_into(target, path, tmp_path)


def test_what_the_server_refuses_is_a_reject_and_not_the_end(
    target: Target, tmp_path: Path
) -> None:
    path = small_source(tmp_path / "webui.db", chats=700)
    with open_source(path) as source:
        ids = [row[0].decode() for row in source.query("SELECT id FROM chat ORDER BY rowid")]
    refused = {ids[0], ids[333], ids[699]}
    with connect(target) as connection:
        listed = ", ".join(f"'{each}'" for each in refused)
        connection.execute(f"ALTER TABLE chat ADD CHECK (id NOT IN ({listed}))".encode())
    result = load_into(target, path, tmp_path)
    chat = next(table for table in result.tables if table.source == "chat")
    assert (chat.inserted, chat.rejected) == (697, 3)
    assert chat.reasons == {"refused-by-server": 3}
    lines = (tmp_path / "rejects" / "chat.jsonl").read_text().splitlines()
    assert {json.loads(line)["key"]["id"] for line in lines} == refused
    with connect(target) as connection:
        stored = {row[0] for row in connection.execute("SELECT id FROM chat")}
    assert stored == set(ids) - refused


def test_what_changes_on_the_way_in_stops_the_load(target: Target, tmp_path: Path) -> None:
    path = small_source(tmp_path / "webui.db")
    with connect(target) as connection:
        connection.execute(
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN NEW.title := NEW.title || ' '; RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE TRIGGER spoil BEFORE INSERT ON chat FOR EACH ROW EXECUTE FUNCTION spoil()"
        )
    before = content(target)
    with pytest.raises(VerificationFailed, match="chat: what is stored differs"):
        load_into(target, path, tmp_path)
    assert content(target) == before


def test_what_gets_lost_on_the_way_in_stops_the_load(target: Target, tmp_path: Path) -> None:
    path = small_source(tmp_path / "webui.db")
    with connect(target) as connection:
        connection.execute(
            "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RETURN NULL; END $$"
        )
        connection.execute(
            "CREATE TRIGGER swallow BEFORE INSERT ON chat FOR EACH ROW EXECUTE FUNCTION swallow()"
        )
    with pytest.raises(VerificationFailed, match="3 rows were sent, and 0 are there"):
        load_into(target, path, tmp_path)
    assert content(target)["user"] == []


def test_a_failure_before_the_commit_changes_nothing(target: Target, tmp_path: Path) -> None:
    path = small_source(tmp_path / "webui.db")
    before = content(target)

    def fail(_: LoadResult) -> None:
        raise OwctlError("the disk is full")

    with pytest.raises(OwctlError, match="disk is full"):
        load_into(target, path, tmp_path, before_commit=fail)
    assert content(target) == before
    with connect(target) as connection:
        assert loading_target.marked(connection) is None


KILLED = """
import os, sys
from pathlib import Path
from owctl.health.target import Address
from owctl.migrate.load.load import LoadRequest, load
from owctl.migrate.convert.column_map import Options
from owctl.migrate.source.database import open_source
from owctl.migrate.load.target import Target, connect, look
host, port, user, database, password, path, folder, table, row = sys.argv[1:]
import owctl.migrate.load.load as module
convert = module.convert
def until(source, table_map, *rest):
    for number, result in enumerate(convert(source, table_map, *rest)):
        if table_map.target == table and number == int(row):
            os.kill(os.getpid(), 9)
        yield result
module.convert = until
target = Target(Address(host, int(port)), user, database, "postgres", password)
def at_the_end(_):
    if table == "commit":
        os.kill(os.getpid(), 9)
with connect(target) as connection, open_source(Path(path)) as source:
    options = Options(look(connection).columns)
    load(connection, LoadRequest(source, options, Path(folder), "x", before_commit=at_the_end))
"""


@pytest.mark.parametrize(
    ("table", "row"), [("user", 0), ("chat", 0), ("chat", 150), ("chat", 299), ("commit", 0)]
)
def test_a_killed_load_leaves_the_target_as_it_was(
    target: Target, tmp_path: Path, table: str, row: int
) -> None:
    path = small_source(tmp_path / "webui.db", chats=300, size_bytes=20_000)
    before = content(target)
    arguments = (
        target.address.host, target.address.port, target.user, target.database, target.password,
        path, tmp_path, table, row,
    )  # fmt: skip
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, arguments)],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    wait_until(lambda: sessions(target) == 0, "the server lets go of the killed load")
    assert content(target) == before
    load_into(target, path, tmp_path)
    assert len(content(target)["chat"]) == 300


def sessions(target: Target) -> int:
    with connect(target) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND application_name = 'owctl migrate'"
        ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("choice", ["reject", "widen"])
def test_a_name_that_is_too_long(target: Target, tmp_path: Path, choice: Any) -> None:
    builder = Builder(tmp_path / "webui.db")
    builder.user(USER, "person@example.org", name="n" * 300)
    builder.close()
    result = load_into(target, tmp_path / "webui.db", tmp_path, on_overflow=choice)
    user = next(table for table in result.tables if table.source == "user")
    with connect(target) as connection:
        longest = connection.execute('SELECT max(length(name)) FROM "user"').fetchone()
    if choice == "widen":
        assert user.rejected == 0
        assert longest == (300,)
        assert any("user.name is text now" in change for change in result.changes)
    else:
        # The account is worth more than the end of its name.
        assert user.rejected == 0
        assert longest == (255,)


def test_orphans_find_a_new_owner(target: Target, tmp_path: Path) -> None:
    builder = Builder(tmp_path / "webui.db")
    builder.user(ADMIN, role="admin")
    builder.chats(2, 300, ("nobody-at-all",))
    builder.close()
    result = load_into(target, tmp_path / "webui.db", tmp_path, orphans=ADMIN)
    assert next(table for table in result.tables if table.source == "chat").inserted == 2
    with connect(target) as connection:
        owners = connection.execute("SELECT DISTINCT user_id FROM chat").fetchall()
    assert owners == [(ADMIN,)]


def test_two_accounts_with_one_address(target: Target, tmp_path: Path) -> None:
    builder = Builder(tmp_path / "webui.db")
    builder.user("one", "Same@Example.org")
    builder.user("two", "same@example.org")
    builder.close()
    with pytest.raises(OwctlError, match="more than one account"):
        load_into(target, tmp_path / "webui.db", tmp_path)
    load_into(target, tmp_path / "webui.db", tmp_path, on_duplicate_email="rename")
    with connect(target) as connection:
        found = connection.execute('SELECT count(DISTINCT email), count(*) FROM "user"').fetchone()
    assert found is not None
    assert found[0] == found[1] >= 2


def test_toast_is_compressed_with_lz4_where_the_server_can(target: Target, tmp_path: Path) -> None:
    path = small_source(tmp_path / "webui.db", chats=3, size_bytes=50_000)
    load_into(target, path, tmp_path)
    with connect(target) as connection:
        found = connection.execute("SELECT DISTINCT pg_column_compression(chat) FROM chat")
        assert found.fetchall() == [("lz4",)]
        after = connection.execute("SHOW default_toast_compression").fetchone()
    assert after == ("pglz",)


LARGE = """
import json, resource, sys
from pathlib import Path
from owctl.health.target import Address
from owctl.migrate.load.load import LoadRequest, load
from owctl.migrate.convert.column_map import Options
from owctl.migrate.source.database import open_source
from owctl.migrate.load.target import Target, connect, look
host, port, user, database, password, path, folder = sys.argv[1:]
target = Target(Address(host, int(port)), user, database, "postgres", password)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
with connect(target) as connection, open_source(Path(path), folder=Path(folder)) as source:
    options = Options(look(connection).columns)
    before = peak()
    load(connection, LoadRequest(source, options, Path(folder), "x"))
    print(peak() - before)
"""


@pytest.mark.parametrize("large_bytes", [12_000_000, 50_000_000])
def test_memory_is_bounded_by_the_largest_row(
    target: Target, tmp_path: Path, large_bytes: int
) -> None:
    builder = Builder(tmp_path / "webui.db")
    builder.user(USER, "person@example.org")
    builder.chats(1000, 24_000, (USER,))
    text = json.dumps({"messages": ["a word or \n two, ü "] * (large_bytes // 28)})
    builder.add("chat", id="large", user_id=USER, chat=text)
    builder.close()
    arguments = (
        target.address.host, target.address.port, target.user, target.database, target.password,
        builder.path, tmp_path,
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", LARGE, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= 64_000_000 + 4 * len(text)
    with connect(target) as connection:
        stored = connection.execute("SELECT count(*) FROM chat").fetchone()
    assert stored == (1001,)


def test_a_large_row_that_changes_on_the_way_in_is_seen(target: Target, tmp_path: Path) -> None:
    builder = Builder(tmp_path / "webui.db")
    builder.user(USER, "person@example.org")
    builder.add("chat", id="large", user_id=USER, chat=json.dumps(["word"] * 500_000))
    builder.close()
    with connect(target) as connection:
        connection.execute(
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN NEW.chat := jsonb_set(NEW.chat, '{7}', '\"words\"'); RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE TRIGGER spoil BEFORE INSERT ON chat FOR EACH ROW EXECUTE FUNCTION spoil()"
        )
    with pytest.raises(VerificationFailed, match="chat: what is stored differs"):
        load_into(target, builder.path, tmp_path)
