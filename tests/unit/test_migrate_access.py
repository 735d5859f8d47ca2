"""Who may read stays who may read, in every state of the new backend."""

import json
from pathlib import Path
from typing import Any

import pytest

from owctl.migrate.convert.column_map import Notes, Reject
from owctl.migrate.convert.mapping import convert, plan_tables, references_of
from owctl.migrate.convert.sharing import prompts_not_public
from owctl.migrate.report.model import CHANGES, REJECTIONS
from owctl.migrate.report.results import unmapped
from owctl.migrate.source.database import open_source
from tests.migrate_sources.builder import ADMIN, Builder
from tests.migrate_sources.targets import options

TABLES = ("channel", "file", "knowledge", "model", "note", "tool")
READERS = ("owner", "named", "member", "stranger", ADMIN)
STATES = ("A", "B", "C")
# -- The rules of the new backend, as its states were seen to follow them.
NEVER_SQL_NULL = ("model", "knowledge")


def reads(state: str, table: str, stored: bytes | None, reader: str) -> bool:
    if reader in ("owner", ADMIN):
        return True
    if stored is None:
        assert table not in NEVER_SQL_NULL, "the list of everybody fails"
        return True
    policy = json.loads(stored)
    if policy is None and table in NEVER_SQL_NULL:
        return True
    if not policy or "read" not in policy:
        return state == "A"
    lists = policy["read"]
    return reader in lists["user_ids"] or (reader == "member" and "group" in lists["group_ids"])


# -- Policies of the old backend: what is written, and who may read by it.
NAMED = {"read": {"group_ids": ["group"], "user_ids": ["named"]}, "write": {"group_ids": [], "user_ids": []}}  # fmt: skip
ONLY_GROUP: dict[str, Any] = {"read": {"group_ids": ["group"]}}
EVERYBODY = set(READERS)
OWNER = {"owner", ADMIN}
POLICIES: dict[str, tuple[str | None, set[str]]] = {
    "sql null": (None, EVERYBODY),
    "json null": ("null", EVERYBODY),
    "empty": ("{}", OWNER),
    "empty text": ("", OWNER),
    "named": (json.dumps(NAMED), {*OWNER, "named", "member"}),
    "only a group": (json.dumps(ONLY_GROUP), {*OWNER, "member"}),
    "null lists": ('{"read": null, "write": {"user_ids": null}}', OWNER),
    "a list": ("[]", OWNER),
    "a word": ('"public"', OWNER),
    "asterisk": ('{"read": {"user_ids": ["*"]}}', OWNER),
    "twice": (json.dumps(json.dumps(NAMED)), {*OWNER, "named", "member"}),
    "writers": ('{"write": {"user_ids": ["named"]}}', OWNER),
}
GRANTS: dict[str, tuple[list[tuple[str, str, str]], set[str]]] = {
    "none": ([], OWNER),
    "everybody": ([("user", "*", "read")], EVERYBODY),
    "everybody writes": ([("user", "*", "write")], OWNER),
    "named": ([("user", "named", "read"), ("user", "named", "write")], {*OWNER, "named"}),
    "a group": ([("group", "group", "read")], {*OWNER, "member"}),
    "other words": ([("role", "*", "read"), ("user", "*", "admin")], OWNER),
}


def people(path: Path, version: str = "0.6.43") -> Builder:
    builder = Builder(path, version)
    for reader in READERS:
        builder.user(reader)
    extra = {"user_ids": '["member"]'} if version == "0.6.32" else {}
    builder.add("group", id="group", user_id=ADMIN, **extra)
    if version != "0.6.32":
        builder.add("group_member", id="gm", group_id="group", user_id="member")
    return builder


def with_grants(builder: Builder) -> None:
    for table in (*TABLES, "prompt"):
        builder.connection.execute(f"ALTER TABLE {table} DROP COLUMN access_control")
        builder.columns[table].remove("access_control")
    builder.connection.execute(
        "CREATE TABLE access_grant (id TEXT PRIMARY KEY, resource_type TEXT, resource_id TEXT,"
        " principal_type TEXT, principal_id TEXT, permission TEXT, created_at BIGINT)"
    )
    builder.connection.execute("UPDATE alembic_version SET version_num = 'b2c3d4e5f6a7'")


def grant(builder: Builder, table: str, key: str, *grants: tuple[str, str, str]) -> None:
    for each in grants:
        builder.connection.execute(
            "INSERT INTO access_grant VALUES (hex(randomblob(8)), ?, ?, ?, ?, ?, 1)",
            (table, key, *each),
        )


def stored(path: Path, table: str, **choices: Any) -> tuple[dict[str, Any], list[Reject], Notes]:
    """What the target gets as policies of a table, by key; all rejects; the notes."""
    choice, notes, found, rejects = options(allow_unknown=True, **choices), Notes(), {}, []
    with open_source(path) as source:
        for table_map in plan_tables(source, choice):
            for row in convert(source, table_map, choice, notes):
                if isinstance(row, Reject):
                    rejects.append(row)
                elif table_map.target == table:
                    values = dict(zip(table_map.columns, row.values, strict=True))
                    found[str(values.get("id", values.get("command")), "utf-8")] = values
        rejects += unmapped(source, choice)
    assert {note[2] for note in notes} <= set(CHANGES)
    assert {reject.reason for reject in rejects} <= set(REJECTIONS)
    return found, rejects, notes


def check(table: str, rows: dict[str, Any], before: dict[str, set[str]]) -> None:
    for name, readers in before.items():
        for state in STATES:
            after = {r for r in READERS if reads(state, table, rows[name]["access_control"], r)}
            assert after == readers, (state, table, name)


@pytest.mark.parametrize("version", ["0.6.32", "0.6.43"])
@pytest.mark.parametrize("table", TABLES)
def test_a_policy_means_the_same_to_every_reader(tmp_path: Path, table: str, version: str):
    builder = people(tmp_path / "webui.db", version)
    for name, (policy, _) in POLICIES.items():
        builder.add(table, id=name, user_id="owner", access_control=policy)
    rows, _, _ = stored(builder.close().path, table)
    check(table, rows, {name: readers for name, (_, readers) in POLICIES.items()})


@pytest.mark.parametrize("table", TABLES)
def test_grants_mean_the_same_to_every_reader(tmp_path: Path, table: str):
    builder = people(tmp_path / "webui.db")
    with_grants(builder)
    for name, (grants, _) in GRANTS.items():
        builder.add(table, id=name, user_id="owner")
        grant(builder, table, name, *grants)
    grant(builder, table, "gone", ("user", "*", "read"))
    grant(builder, table, "none", ("user", "ghost", "read"))
    rows, rejects, notes = stored(builder.close().path, table)
    check(table, rows, {name: readers for name, (_, readers) in GRANTS.items()})
    assert json.loads(rows["named"]["access_control"])["write"]["user_ids"] == ["named"]
    reasons = sorted(r.reason for r in rejects if r.source_table == "access_grant")
    assert reasons == sorted(
        ["merged-access"] * 5 + ["no-feature"] * 2 + [f"orphan-{table}", "orphan-user"]
    )
    assert notes.examples(table, "access_control", "public-to-write") == ["everybody"]


def test_members_of_direct_messages_and_group_channels_stay_the_only_readers(tmp_path: Path):
    builder = people(tmp_path / "webui.db")
    for kind in ("dm", "group"):
        builder.add(
            "channel", id=kind, type=kind, user_id="owner", access_control="null", is_private=0
        )
        for user, active, status in (("owner", 1, "joined"), ("named", 1, "joined"), ("member", 0, "left"),
                                     ("stranger", 0, "joined")):  # fmt: skip
            builder.add("channel_member", id=f"{kind}-{user}", channel_id=kind, user_id=user,
                        is_active=active, status=status)  # fmt: skip
    builder.add("channel", id="open", user_id="owner", access_control="null")
    path = builder.close().path
    rows, rejects, notes = stored(path, "channel")
    check("channel", rows, {"dm": {*OWNER, "named"}, "group": {*OWNER, "named"}, "open": EVERYBODY})
    assert json.loads(rows["dm"]["access_control"])["write"]["user_ids"] == ["owner", "named"]
    left = sorted(str(r.key["id"]) for r in rejects if r.reason == "left-channel")
    assert left == ["dm-member", "dm-stranger", "group-member", "group-stranger"]
    assert notes.examples("channel", "access_control", "members-made-lists") == ["dm", "group"]
    assert set(stored(path, "channel_member")[0]) == {f"{k}-{u}" for k in ("dm", "group") for u in ("owner", "named")}  # fmt: skip


def test_who_loses_by_a_group_that_stays_behind_is_told(tmp_path: Path):
    builder = people(tmp_path / "webui.db")
    builder.add("group", id="lost", user_id="ghost")
    for key, group in (("by-lost", "lost"), ("by-deleted", "deleted-before")):
        policy = json.dumps({"read": {"group_ids": [group], "user_ids": []}, "write": {"group_ids": [], "user_ids": []}})  # fmt: skip
        builder.add("model", id=key, user_id="owner", access_control=policy)
    _, _, notes = stored(builder.close().path, "model")
    assert notes.examples("model", "access_control", "access-group-lost") == ["by-lost"]
    assert CHANGES["access-group-lost"].loses


@pytest.mark.parametrize("become_public", [False, True])
def test_prompts_of_the_few_are_named_and_stay_behind_unless_asked_for(
    tmp_path: Path, become_public: bool
):
    builder = people(tmp_path / "webui.db")
    for number, (policy, _) in enumerate(POLICIES.values()):
        builder.add(
            "prompt", id=number, command=f"/p{number}", user_id="owner", access_control=policy
        )
    builder.close()
    rows, rejects, _ = stored(builder.path, "prompt", prompts_become_public=become_public)
    private = [f"/p{n}" for n, (_, readers) in enumerate(POLICIES.values()) if readers != EVERYBODY]
    assert set(private) & set(rows) == (set(private) if become_public else set())
    assert {"/p0", "/p1"} <= set(rows)
    not_taken = [r.key["id"] for r in rejects if r.reason == "prompt-not-public"]
    assert len(not_taken) == (0 if become_public else len(private))
    choice = options(prompts_become_public=become_public)
    with open_source(builder.path) as source:
        named = prompts_not_public(source, choice, references_of(source, choice))
    assert [(each["command"], each["migrated"]) for each in named] == [
        (c, become_public) for c in private
    ]


def test_prompts_by_grants_get_their_slash(tmp_path: Path):
    builder = people(tmp_path / "webui.db")
    with_grants(builder)
    for number, command in enumerate(("all", "/slashed", "few")):
        builder.add("prompt", id=number, command=command, user_id="owner")
        grant(
            builder, "prompt", str(number), ("user", "*" if command != "few" else "named", "read")
        )
    rows, rejects, _ = stored(builder.close().path, "prompt")
    assert set(rows) == {"/all", "/slashed"}
    reasons = sorted(r.reason for r in rejects if r.source_table in ("prompt", "access_grant"))
    assert reasons == ["merged-access", "merged-access", "orphan-prompt", "prompt-not-public"]


def test_a_shared_chat_keeps_its_link_only_where_all_may_open_it(tmp_path: Path):
    builder = people(tmp_path / "webui.db")
    with_grants(builder)
    builder.connection.execute(
        "CREATE TABLE shared_chat (id TEXT, chat_id TEXT, user_id TEXT, title TEXT, chat JSON)"
    )
    content = '{"a": 1}'
    for key, snapshot, principal in (("all", content, "*"), ("some", content, "named"), ("none", content, None),
                                     ("went-on", "{}", "*")):  # fmt: skip
        builder.add(
            "chat", id=key, user_id="owner", title="T", chat=content, share_id=f"share-{key}"
        )
        builder.connection.execute(
            "INSERT INTO shared_chat VALUES (?, ?, 'owner', 'T', ?)",
            (f"share-{key}", key, snapshot),
        )
        if principal:
            grant(builder, "shared_chat", f"share-{key}", ("user", principal, "read"))
    rows, rejects, notes = stored(builder.close().path, "chat")
    assert {key: row["share_id"] for key, row in rows.items() if row["share_id"]} == {
        "all": b"share-all"
    }
    assert notes.examples("chat", "share_id", "share-restricted") == ["some", "none"]
    assert notes.examples("chat", "share_id", "share-differs") == ["went-on"]
    assert {r.reason for r in rejects if r.source_table == "shared_chat"} == {"shared-snapshot"}
