"""Every trap of a migration, on both source versions and both target versions."""

import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from owctl.migrate.convert.column_map import Converted, Notes, Options, Reject
from owctl.migrate.convert.mapping import convert, plan_tables
from owctl.migrate.report.rejects import is_secret
from owctl.migrate.report.results import unmapped
from owctl.migrate.source.database import Source, open_source
from tests.migrate_sources.builder import ADMIN, NOW, VERSIONS, Builder
from tests.migrate_sources.targets import TARGETS, options
from tests.migrate_sources.traps import USER, build_with_traps

# An empty policy would let everybody in, in one state of the new backend.
OWNER_ONLY = {
    "read": {"group_ids": [], "user_ids": []},
    "write": {"group_ids": [], "user_ids": []},
}


class Result:
    """Everything that a conversion yields, by table."""

    def __init__(self, source: Source, choice: Options) -> None:
        self.notes = Notes()
        self.rows: dict[str, dict[str, dict[str, Any]]] = {}
        self.rejects: list[Reject] = []
        self.converted: Counter[str] = Counter()
        for table_map in plan_tables(source, choice):
            rows = self.rows.setdefault(table_map.target, {})
            for result in convert(source, table_map, choice, self.notes):
                if isinstance(result, Reject):
                    self.rejects.append(result)
                    continue
                self.converted[table_map.source] += 1
                row = dict(zip(table_map.columns, result.values, strict=True))
                key = row.get("id", row.get("command"))
                rows[key.decode() if isinstance(key, bytes) else str(key)] = row
        self.rejects += unmapped(source, choice)

    @property
    def reasons(self) -> Counter[tuple[str, str]]:
        return Counter((reject.source_table, reject.reason) for reject in self.rejects)

    @property
    def kinds(self) -> Counter[tuple[str, str, str]]:
        return Counter({(table, column, kind): n for table, column, kind, n in self.notes})


@pytest.fixture(params=VERSIONS)
def traps(request: pytest.FixtureRequest, tmp_path: Path) -> Builder:
    return build_with_traps(tmp_path / "webui.db", request.param)


def converted(path: Path, **changes: Any) -> Result:
    with open_source(path) as source:
        return Result(source, options(**changes))


def test_every_trap_ends_as_expected(traps: Builder):
    result = converted(traps.path)
    assert result.reasons == +traps.rejects
    assert result.kinds == +traps.notes


@pytest.mark.parametrize("target", TARGETS)
def test_every_row_is_accounted_for_exactly_once(traps: Builder, target: str):
    with open_source(traps.path) as source:
        result = Result(source, options(target))
        rejected = Counter(reject.source_table for reject in result.rejects)
        counted = {table: result.converted[table] + rejected[table] for table in source.tables}
        assert counted == {table: source.rows_in(table) for table in source.tables}
        assert len({(r.source_table, r.key["rowid"]) for r in result.rejects}) == len(
            result.rejects
        )


def test_values_fit_the_columns(traps: Builder):
    choice = options()
    result = converted(traps.path)
    expected = {"character varying": bytes, "text": bytes, "jsonb": bytes, "date": bytes,
                "timestamp without time zone": bytes, "bigint": int, "integer": int, "boolean": bool}  # fmt: skip
    for table, rows in result.rows.items():
        for row in rows.values():
            for column, value in row.items():
                info = choice.target_columns[table][column]
                assert value is not None or info.nullable
                assert value is None or type(value) is expected[info.data_type], (table, column)
                if isinstance(value, bytes):
                    assert b"\0" not in value
                    assert info.max_length is None or len(value.decode()) <= info.max_length


def test_references_lead_somewhere(traps: Builder):
    rows = converted(traps.path).rows
    users = set(rows["user"])
    for table, found in rows.items():
        for row in found.values():
            assert "user_id" not in row or row["user_id"].decode() in users, table
    assert set(rows["auth"]) <= users
    assert {r["channel_id"].decode() for r in rows["channel_member"].values()} <= set(
        rows["channel"]
    )
    assert {r["message_id"].decode() for r in rows["message_reaction"].values()} <= set(
        rows["message"]
    )
    for folder in rows["folder"]:
        met = set()
        at: str | None = folder
        while at is not None:
            assert at not in met
            met.add(at)
            parent = rows["folder"][at]["parent_id"]
            at = parent.decode() if parent is not None else None


def test_what_single_rows_become(traps: Builder):
    rows = converted(traps.path).rows
    assert rows["user"][USER]["email"] == rows["auth"][USER]["email"] == b"ben@example.com"
    assert rows["auth"][USER]["created_at"] == NOW
    assert rows["user"]["birthday"]["date_of_birth"] == b"1999-12-31"
    assert rows["user"]["keyed"]["oauth_sub"] == b"google@123"
    assert rows["user"]["keyed"]["api_key"] == (
        b"sk-old" if traps.version == "0.6.32" else b"sk-newest"
    )
    assert rows["chat"]["same"]["share_id"] == b"share-1"
    assert rows["chat"]["differs"]["share_id"] is None
    assert rows["chat"]["ms"]["created_at"] == rows["chat"]["ns"]["created_at"] == NOW
    assert rows["chat"]["words"]["created_at"] == NOW
    assert rows["chat"]["null-chat"]["pinned"] is False
    escapes = json.loads(rows["chat"]["escapes"]["chat"])
    assert escapes == {"a": "xy", "b": "\\u0000 stays", "c": "\ufffd", "d": "😀"}
    assert json.loads(rows["chat"]["nan"]["chat"]) == {"a": None, "b": [None], "c": "NaN"}
    assert json.loads(rows["chat"]["twice"]["chat"]) == {"a": 'say "x"'}
    assert rows["channel"]["open"]["access_control"] is None
    assert json.loads(rows["channel"]["closed"]["access_control"]) == OWNER_ONLY
    assert rows["message"]["msg-1"]["created_at"] == NOW * 10**9
    assert rows["file"]["file-1"]["path"] == b"/app/data/uploads/file-1_a.txt"
    assert json.loads(rows["group"]["group-1"]["user_ids"]) == [USER]
    data = json.loads(rows["knowledge"]["knowledge-1"]["data"])
    assert data == ({"file_ids": ["file-1"]} if traps.version == "0.6.32" else
                    {"x": 1, "file_ids": ["file-2"]})  # fmt: skip
    assert rows["config"]["1"]["updated_at"] == b"2024-10-27 03:33:20"


def test_the_older_target_takes_no_channel_messages_and_no_hash(traps: Builder):
    result = converted(traps.path, version="001-006")
    assert not result.rows["message"]
    assert not result.rows["message_reaction"]
    assert result.reasons["message", "target-too-old"] == 3
    assert "hash" not in next(iter(result.rows["file"].values()))


def test_orphans_go_to_the_heir(traps: Builder):
    result = converted(traps.path, orphans=ADMIN)
    assert result.rows["chat"]["orphan"]["user_id"] == ADMIN.encode()
    assert result.reasons["chat", "orphan-user"] == 0
    assert result.reasons["auth", "orphan-user"] == 1
    assert "share-1" not in result.rows["chat"]
    # Its owner is there, and only their account could not be taken.
    assert result.reasons["chat", "owner-rejected"] == result.reasons["auth", "owner-rejected"] == 1
    assert result.notes.examples("chat", "user_id", "orphan-assigned") == ["orphan"]


def test_widening_lets_long_strings_through(traps: Builder):
    result = converted(traps.path, on_overflow="widen")
    assert len(result.rows["user"]["wide"]["name"]) == 256
    assert not any(reason == "too-long" for _, reason in result.reasons)


def test_share_links_can_be_kept(traps: Builder):
    rows = converted(traps.path, keep_share_links=True).rows["chat"]
    assert rows["differs"]["share_id"] == b"share-2"


def test_new_passwords_replace_the_old_hashes(traps: Builder):
    rows = converted(traps.path, passwords={USER: "$argon2id$new"}).rows["auth"]
    assert rows[USER]["password"] == b"$argon2id$new"
    assert rows[ADMIN]["password"].startswith(b"$2b$")


def test_rejects_hold_no_secrets(traps: Builder):
    text = repr(converted(traps.path).rejects)
    for secret in ("secret", "$2b$", "sk-older", "sk-expired"):
        assert secret not in text


def test_a_table_converted_again_alone_gives_the_same(traps: Builder):
    choice = options()
    with open_source(traps.path) as source:
        maps = {table_map.target: table_map for table_map in plan_tables(source, choice)}
        first = list(convert(source, maps["chat"], choice, Notes()))
        list(convert(source, maps["user"], choice, Notes()))
        assert list(convert(source, maps["chat"], choice, Notes())) == first
    with open_source(traps.path) as source:
        assert list(convert(source, maps["chat"], choice, Notes())) == first


def test_the_source_is_left_as_it_was(traps: Builder):
    before = {path.name: path.read_bytes() for path in traps.path.parent.iterdir()}
    converted(traps.path)
    assert {path.name: path.read_bytes() for path in traps.path.parent.iterdir()} == before


@pytest.mark.parametrize("version", VERSIONS)
def test_an_empty_database_converts_to_nothing(tmp_path: Path, version: str):
    path = Builder(tmp_path / "webui.db", version).close().path
    result = converted(path)
    assert not any(result.rows.values())
    assert result.reasons == {("alembic_version", "bookkeeping"): 1}


def test_ids_that_differ_only_in_what_is_removed_do_not_collide(tmp_path: Path):
    builder = Builder(tmp_path / "webui.db")
    builder.user(ADMIN)
    builder.add("chat", id="same", user_id=ADMIN)
    builder.add("chat", id=b"same", user_id=ADMIN)
    builder.close()
    result = converted(builder.path)
    assert list(result.rows["chat"]) == ["same"]
    assert result.reasons["chat", "duplicate-key"] == 1


def test_converted_rows_name_their_source_row(traps: Builder):
    with open_source(traps.path) as source:
        choice = options()
        chats = next(m for m in plan_tables(source, choice) if m.target == "chat")
        results = [r for r in convert(source, chats, choice, Notes()) if isinstance(r, Converted)]
    with sqlite3.connect(traps.path) as connection:
        ids = dict(connection.execute("SELECT rowid, CAST(id AS BLOB) FROM chat"))
    connection.close()
    assert all(result.values[0] == ids[result.rowid] for result in results)


def test_what_a_newer_source_says_of_access_elsewhere_is_not_taken_for_public(tmp_path: Path):
    builder = Builder(tmp_path / "webui.db", "0.6.43")
    builder.user(ADMIN)
    builder.add("knowledge", id="secret-plans", user_id=ADMIN)
    builder.connection.execute("ALTER TABLE knowledge DROP COLUMN access_control")
    builder.connection.execute("UPDATE alembic_version SET version_num = 'b2c3d4e5f6a7'")
    builder.close()
    result = converted(builder.path, allow_unknown=True)
    stored = result.rows["knowledge"]["secret-plans"]["access_control"]
    assert json.loads(stored) == OWNER_ONLY
    assert result.kinds["knowledge", "access_control", "access-made-private"] == 1


def test_a_rejected_row_takes_nothing_from_others(tmp_path: Path):
    builder = Builder(tmp_path / "webui.db", constraints=False)
    builder.user("one", "one@example.com")
    builder.add("user", id="one", email="two@example.com")  # the first of an id counts
    builder.user("two", "Two@example.com")
    result = converted(builder.close().path)
    assert {key: row["email"] for key, row in result.rows["user"].items()} == {
        "one": b"one@example.com",
        "two": b"two@example.com",
    }
    assert result.reasons["user", "duplicate-key"] == 1


def test_times_of_messages_in_words_are_nanoseconds(tmp_path: Path):
    builder = Builder(tmp_path / "webui.db", constraints=False)
    builder.user(ADMIN)
    builder.add("note", id="words", user_id=ADMIN, created_at="2024-10-27 03:33:20")
    row = converted(builder.close().path).rows["note"]["words"]
    assert row["created_at"] == NOW * 10**9


def test_a_folder_is_kept_whatever_its_parent_is_called(tmp_path: Path):
    builder = Builder(tmp_path / "webui.db", constraints=False)
    builder.user(ADMIN)
    builder.add("folder", id="child", user_id=ADMIN, parent_id="p" * 300)
    builder.add("chat", id="inside", user_id=ADMIN, folder_id="child")
    result = converted(builder.close().path)
    assert result.rows["folder"]["child"]["parent_id"] is None
    assert result.rows["chat"]["inside"]["folder_id"] == b"child"


def test_prompts_of_newer_versions_keep_their_names_and_times(tmp_path: Path):
    builder = Builder(tmp_path / "webui.db")
    builder.user(ADMIN)
    builder.add("prompt", id=1, command="/a", user_id=ADMIN, title="Say it")
    builder.connection.executescript(
        "ALTER TABLE prompt RENAME COLUMN title TO name;"
        "ALTER TABLE prompt RENAME COLUMN timestamp TO created_at;"
        "ALTER TABLE prompt ADD COLUMN updated_at INTEGER;"
        "UPDATE alembic_version SET version_num = '374d2f66af06'"
    )
    row = converted(builder.close().path, allow_unknown=True).rows["prompt"]["/a"]
    assert (row["title"], row["created_at"], row["updated_at"]) == (b"Say it", NOW, NOW)


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("config_old", "data"),
        ("_alembic_tmp_config", "value"),
        ("user", "variables"),
        ("x", "mfa_secret"),
    ],
)
def test_what_is_left_over_is_as_secret_as_what_it_was(table: str, column: str):
    assert is_secret(table, column)
