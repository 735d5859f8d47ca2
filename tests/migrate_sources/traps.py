"""Every trap of a migration, each with what must become of it."""

import json
from pathlib import Path

from tests.migrate_sources.builder import ADMIN, NOW, Builder

USER = "user-0002"


def build_with_traps(
    path: Path, version: str = "0.6.32", *, seed: int = 1, constraints: bool = True
) -> Builder:
    """Write a database with all traps but those that stop a migration (addresses, versions)."""
    builder = Builder(path, version, seed=seed, constraints=constraints)
    _accounts(builder)
    _chats(builder)
    _json(builder)
    _texts(builder)
    _trees(builder)
    _channels(builder)
    _keys(builder)
    _files(builder)
    _times(builder)
    _unmapped(builder)
    if version == "0.6.43":
        _later_tables(builder)
    else:
        _earlier_columns(builder)
    return builder.close()


def _accounts(b: Builder) -> None:
    b.user(ADMIN, role="admin")
    b.user(USER, email="Ben@Example.COM")
    b.noted("user", "email", "lower-cased")
    b.noted("auth", "email", "lower-cased")
    b.user("no-birthday", date_of_birth="31.12.1999")
    b.noted("user", "date_of_birth", "date-unreadable")
    b.user("birthday", date_of_birth="1999-12-31")
    b.user("bad-settings", settings="{'theme': 1}")
    b.noted("user", "settings", "invalid-json-to-null")
    b.user("odd-role", role="moderator")
    b.noted("user", "role", "role-unknown")
    b.rejected("auth", "orphan-user", id="ghost", email="ghost@example.com")
    b.user("wide", name="n" * 256, gender="g" * 80, username="é" * 51)
    for column in ("name", "gender", "username"):
        b.noted("user", column, "text-cut")
    b.noted("user", "role", "role-too-long")
    b.user("grand", role="r" * 51)
    unfit = f"{'e' * 256}@example.com"
    b.rejected("user", "too-long", id="unfit", email=unfit)
    b.rejected("auth", "owner-rejected", id="unfit", email=unfit)
    b.rejected("chat", "owner-rejected", id="chat-of-unfit", user_id="unfit")
    b.noted("user", "info", "null-text", 8)


def _chats(b: Builder) -> None:
    b.add("chat", id="plain", user_id=USER)
    b.rejected("chat", "orphan-user", id="orphan", user_id="ghost")
    b.add("chat", id="null-chat", user_id=USER, chat="null", meta="null", pinned=None)
    b.noted("chat", "chat", "null-text")
    b.noted("chat", "chat", "null-to-default")
    b.add("chat", id="same", user_id=USER, share_id="share-1", chat='{"a": [1, 2]}')
    b.rejected("chat", "shared-snapshot", id="share-1", user_id="shared-same", chat='{"a":[1,2]}')
    b.add("chat", id="differs", user_id=USER, share_id="share-2", chat='{"a": [1, 2, "private"]}')
    b.rejected("chat", "shared-snapshot", id="share-2", user_id="shared-differs", chat='{"a": [1]}')
    b.noted("chat", "share_id", "share-differs")
    b.add("chat", id="dangling", user_id=USER, share_id="share-3")
    b.noted("chat", "share_id", "share-without-snapshot")


def _json(b: Builder) -> None:
    bad_escapes = (
        '{"a": "x\\u0000y", "b": "\\\\u0000 stays", "c": "\\ud83d", "d": "\\ud83d\\ude00"}'
    )
    b.add("chat", id="escapes", user_id=USER, chat=bad_escapes)
    b.noted("chat", "chat", "nul-removed")
    b.noted("chat", "chat", "surrogate-replaced")
    b.add("chat", id="nan", user_id=USER, chat='{"a": NaN, "b": [-Infinity], "c": "NaN"}')
    b.noted("chat", "chat", "nan-to-null")
    b.add("chat", id="huge-number", user_id=USER, chat='{"a": 1e999999, "b": 1e300}')
    b.noted("chat", "chat", "number-to-null")
    b.add("chat", id="twice", user_id=USER, chat=json.dumps(json.dumps({"a": 'say "x"'})))
    b.noted("chat", "chat", "double-encoded")
    b.rejected("chat", "invalid-json", id="cut", user_id=USER, chat='{"a": "b')
    b.rejected("chat", "invalid-json", id="python", user_id=USER, chat="{'a': None}")
    b.add("chat", id="deep", user_id=USER, chat="[" * 3000 + "]" * 3000)
    b.rejected("chat", "json-too-deep", id="deeper", user_id=USER, chat="[" * 30000 + "]" * 30000)
    b.add("chat", id="number", user_id=USER, chat="5")
    b.add("chat", id="big-integer", user_id=USER, chat='{"a": ' + "9" * 5000 + "}")
    b.add("chat", id="bad-meta", user_id=USER, meta="{oops")
    b.noted("chat", "meta", "invalid-json-to-null")
    b.noted("chat", "meta", "null-to-default")


def _texts(b: Builder) -> None:
    b.add("chat", id="nul-title", user_id=USER, title="a\0b")
    b.noted("chat", "title", "nul-removed")
    b.add("chat", id="latin-title", user_id=USER)
    b.text("chat", "title", "latin-title", b"caf\xe9")
    b.noted("chat", "title", "utf8-replaced")
    b.add("chat", id="blob-title", user_id=USER, title=b"a blob")
    b.add("chat", id="latin-json", user_id=USER)
    b.text("chat", "chat", "latin-json", b'{"a": "caf\xe9"}')
    b.noted("chat", "chat", "utf8-replaced")
    b.rejected("chat", "too-long", id="c" * 256, user_id=USER)
    b.add("chat", id="字" * 255, user_id=USER)
    b.rejected("chat", "missing-key", id="", user_id=USER)


def _trees(b: Builder) -> None:
    b.add("folder", id="root", user_id=USER)
    b.add("folder", id="child", user_id=USER, parent_id="root")
    b.add("folder", id="lost", user_id=USER, parent_id="gone")
    b.noted("folder", "parent_id", "parent-missing")
    for folder, parent in (("ring-a", "ring-b"), ("ring-b", "ring-c"), ("ring-c", "ring-a")):
        b.add("folder", id=folder, user_id=USER, parent_id=parent)
    b.add("folder", id="itself", user_id=USER, parent_id="itself")
    b.noted("folder", "parent_id", "circle-cut", 2)
    b.add("folder", id="foreign", user_id=ADMIN, parent_id="root")
    b.noted("folder", "parent_id", "parent-of-other-user")
    b.rejected("folder", "duplicate-key", id="root", user_id=ADMIN)
    b.noted("folder", "meta", "null-text", 8)
    b.noted("folder", "data", "null-text", 8)
    b.add("chat", id="in-folder", user_id=USER, folder_id="child")
    b.add("chat", id="in-no-folder", user_id=USER, folder_id="gone")
    b.noted("chat", "folder_id", "folder-missing")
    b.add("tag", id="python", user_id=ADMIN, name="python")
    b.rejected("tag", "merged-tag", id="python", user_id=USER, name="python")
    b.rejected("tag", "duplicate-key", id="python", user_id="birthday", name="Python")
    b.noted("tag", "data", "null-text")


def _channels(b: Builder) -> None:
    b.add("channel", id="open", user_id=ADMIN)
    b.add("channel", id="closed", user_id=ADMIN, access_control="{}")
    b.noted("channel", "access_control", "access-made-explicit")
    b.rejected("channel", "orphan-user", id="lost-channel", user_id=None)
    for column, count in (("data", 2), ("meta", 2), ("access_control", 1)):
        b.noted("channel", column, "null-text", count)
    b.add("channel_member", id="cm-1", channel_id="open", user_id=USER)
    b.noted("channel_member", "created_at", "ns-to-s")
    b.rejected("channel_member", "orphan-channel", id="cm-2", channel_id="gone", user_id=USER)
    b.add("message", id="msg-1", user_id=USER, channel_id="open", parent_id="msg-2")
    b.add("message", id="msg-2", user_id=USER, channel_id="open", parent_id="msg-1", content=None)
    b.noted("message", "content", "null-to-default")
    b.rejected("message", "orphan-user", id="msg-3", user_id="ghost", channel_id="open")
    b.noted("message", "data", "null-text", 2)
    b.noted("message", "meta", "null-text", 2)
    b.add("message_reaction", id="mr-1", user_id=USER, message_id="msg-1")
    b.rejected("message_reaction", "orphan-message", id="mr-2", user_id=USER, message_id="msg-3")
    b.add("note", id="note-1", user_id=USER, title=None, access_control="{}")
    b.noted("note", "title", "null-to-default")
    b.noted("note", "access_control", "access-made-explicit")


def _keys(b: Builder) -> None:
    b.add("prompt", id=1, command="/a", user_id=USER)
    b.add("prompt", id=2, command="/b\0", user_id=USER)
    b.rejected("prompt", "duplicate-key", id=3, command="/b", user_id=USER)
    b.rejected("prompt", "prompt-not-public", id=4, command="/c", user_id=USER, access_control="{}")
    b.noted("prompt", "command", "nul-removed")
    b.add(
        "model", id="model-1", user_id=USER, params="", access_control='{"read": {"group_ids": []}}'
    )
    b.noted("model", "access_control", "access-made-explicit")
    b.noted("model", "params", "null-text")
    b.noted("model", "params", "null-to-default")
    b.add("tool", id="tool-1", user_id=USER, valves='{"key": "secret-valve"}')
    b.add("function", id="function-1", user_id=USER, is_active="true", valves=None)
    b.rejected("function", "too-long", id="function-2", user_id=USER, type="t" * 51)
    b.add("memory", id="memory-1", user_id=USER)
    b.add("feedback", id="feedback-1", user_id=USER, version=None, type=None)
    b.noted("feedback", "version", "null-to-default")
    b.noted("feedback", "type", "null-to-default")
    b.add("config", id=1, data='{"openai": {"api_keys": ["sk-secret"]}}', updated_at=None)
    b.noted("config", "updated_at", "time-from-sister")


def _files(b: Builder) -> None:
    b.add("file", id="file-1", user_id=USER, path="/app/backend/data/uploads/file-1_a.txt")
    b.noted("file", "path", "path-rewritten")
    b.add("file", id="file-2", user_id=USER, path="s3://bucket/file-2", updated_at=None)
    b.noted("file", "path", "path-kept")
    b.noted("file", "updated_at", "time-from-sister")
    b.add("file", id="file-3", user_id=USER, path=None)
    b.noted("file", "path", "null-to-default")


def _times(b: Builder) -> None:
    b.add("chat", id="ms", user_id=USER, created_at=NOW * 1000, updated_at=NOW * 10**6)
    b.noted("chat", "created_at", "ms-to-s")
    b.noted("chat", "updated_at", "us-to-s")
    b.add("chat", id="ns", user_id=USER, created_at=NOW * 10**9)
    b.noted("chat", "created_at", "ns-to-s")
    b.add("chat", id="words", user_id=USER, created_at="2024-10-27 03:33:20")
    b.noted("chat", "created_at", "time-from-words")


def _unmapped(b: Builder) -> None:
    b.rejected("oauth_session", "not-carried-over", id="os-1", user_id=USER)
    b.rejected("document", "legacy", id=1, collection_name="c", name="d")
    b.rejected("chatidtag", "legacy", id="t", tag_name="x", chat_id="c", user_id="u", timestamp=1)
    b.rejected("migratehistory", "bookkeeping", id=1, name="001", migrated_at="2024-01-01")
    b.connection.execute("CREATE TABLE _alembic_tmp_chat (id TEXT)")
    b.connection.execute("CREATE TABLE my_plugin (id TEXT)")
    b.columns["_alembic_tmp_chat"] = b.columns["my_plugin"] = ["id"]
    b.rejected("_alembic_tmp_chat", "bookkeeping", id="x")
    b.rejected("my_plugin", "unknown-table", id="x")
    b.connection.execute("CREATE TABLE my_index (id TEXT PRIMARY KEY) WITHOUT ROWID")
    b.columns["my_index"] = ["id"]
    b.rejected("my_index", "unknown-table", id="x")
    b.rejected("my_index", "unknown-table", id="y")


def _earlier_columns(b: Builder) -> None:
    b.user("keyed", api_key="sk-old", oauth_sub="google@123")
    b.user("keyless", api_key="", oauth_sub="")
    b.noted("user", "info", "null-text", 2)
    b.add("group", id="group-1", user_id=ADMIN, user_ids=json.dumps([USER]), description=None)
    b.noted("group", "description", "null-to-default")
    b.add("knowledge", id="knowledge-1", user_id=USER, data='{"file_ids": ["file-1"]}')


def _later_tables(b: Builder) -> None:
    b.user("keyed", oauth='{"google": {"sub": "123"}}')
    b.user("many-providers", oauth='{"google": {"sub": "1"}, "oidc": {"sub": "2"}}')
    b.noted("user", "oauth_sub", "only-first-provider")
    b.noted("user", "info", "null-text", 2)
    b.add("group", id="group-1", user_id=ADMIN)
    b.noted("group", "user_ids", "members-merged")
    b.rejected("group_member", "merged-group", id="gm-1", group_id="group-1", user_id=USER)
    b.rejected("group_member", "orphan-user", id="gm-2", group_id="group-1", user_id="ghost")
    b.rejected("group_member", "orphan-group", id="gm-3", group_id="gone", user_id=USER)
    b.add("knowledge", id="knowledge-1", user_id=USER, data='{"x": 1}')
    b.noted("knowledge", "data", "file-ids-merged")
    for number, file, reason in ((1, "file-2", "merged-knowledge"), (2, "gone", "orphan-file")):
        b.rejected("knowledge_file", reason, id=f"kf-{number}", user_id=USER,
                   knowledge_id="knowledge-1", file_id=file)  # fmt: skip
    for key, user, created, expires, reason in (
        ("sk-older", "keyed", NOW - 9, None, "superseded-api-key"),
        ("sk-newest", "keyed", NOW, NOW * 2, "merged-user"),
        ("sk-expired", "keyed", NOW + 9, NOW, "expired-api-key"),
        ("sk-orphan", "ghost", NOW, None, "orphan-user"),
    ):
        b.rejected("api_key", reason, id=f"id-{created}-{user}", key=key, user_id=user, created_at=created,
                   expires_at=expires)  # fmt: skip
    b.rejected("channel_webhook", "no-feature", id="w", user_id=USER, channel_id="open", name="w",
               token="secret-webhook")  # fmt: skip
    b.rejected(
        "channel_file", "no-feature", id="cf", user_id=USER, channel_id="open", file_id="file-1"
    )
    b.rejected("chat_file", "no-feature", id="xf", user_id=USER, chat_id="plain", file_id="file-1")
