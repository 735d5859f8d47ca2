"""What lost its place in the old backend, or has none in the new one: each decided, each told."""

from pathlib import Path
from typing import Any

import pytest

from owctl.migrate.convert.column_map import Notes, Reject
from owctl.migrate.convert.mapping import convert, plan_tables
from owctl.migrate.report.model import (
    CHANGES,
    REJECTIONS,
    config_settings,
    dropped_columns,
    settings_stay,
)
from owctl.migrate.report.results import unmapped
from owctl.migrate.source.database import open_source
from tests.migrate_sources.builder import ADMIN, Builder
from tests.migrate_sources.targets import options


def migrated(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str], Notes]:
    """The target's rows by table and key, the reasons of rejects by "table key", the notes."""
    choice, notes = options(allow_unknown=True), Notes()
    rows: dict[str, dict[str, Any]] = {}
    reasons: dict[str, str] = {}
    with open_source(path) as source:
        found: list[Any] = []
        for table_map in plan_tables(source, choice):
            for row in convert(source, table_map, choice, notes):
                if isinstance(row, Reject):
                    found.append(row)
                else:
                    values = dict(zip(table_map.columns, row.values, strict=True))
                    key = str(values.get("id", values.get("command")), "utf-8")
                    rows.setdefault(table_map.target, {})[key] = values
        for reject in [*found, *unmapped(source, choice)]:
            named = [str(value) for name, value in reject.key.items() if name != "rowid"]
            reasons[" ".join([reject.source_table, *named])] = reject.reason
    assert {note[2] for note in notes} <= set(CHANGES)
    assert set(reasons.values()) <= set(REJECTIONS)
    return rows, reasons, notes


def test_replies_and_messages_of_what_is_gone(tmp_path: Path):
    builder = Builder(tmp_path / "webui.db", "0.6.43")
    builder.user(ADMIN)
    builder.add("channel", id="here", user_id=ADMIN)
    builder.add("channel", id="archived", user_id=ADMIN, archived_at=1)
    builder.add("channel", id="hidden", user_id=ADMIN, deleted_at=1)
    builder.add("channel_member", id="in-hidden", channel_id="hidden", user_id=ADMIN)
    for key, values in {
        "rejected": {"user_id": "ghost"},
        "answers-rejected": {"parent_id": "rejected", "reply_to_id": "rejected"},
        "answers-deleted": {"parent_id": "long gone"},
        "plain": {"reply_to_id": "answers-deleted"},
        "in-hidden": {"channel_id": "hidden"},
        "in-nowhere": {"channel_id": "long gone"},
    }.items():
        builder.add("message", **{"id": key, "user_id": ADMIN, "channel_id": "here", **values})
    rows, reasons, notes = migrated(builder.close().path)
    assert set(rows["channel"]) == {"here", "archived"}
    assert notes.examples("channel", "id", "no-longer-archived") == ["archived"]
    assert set(rows["message"]) == {"answers-rejected", "answers-deleted", "plain"}
    answer = rows["message"]["answers-rejected"]
    assert (answer["parent_id"], answer["reply_to_id"]) == (None, None)
    assert rows["message"]["answers-deleted"]["parent_id"] == b"long gone"
    assert rows["message"]["plain"]["reply_to_id"] == b"answers-deleted"
    assert notes.examples("message", "parent_id", "reply-to-rejected") == ["answers-rejected"]
    assert notes.examples("message", "parent_id", "reply-to-deleted") == ["answers-deleted"]
    assert reasons == {
        "alembic_version c440947495f3": "bookkeeping",
        "channel hidden": "deleted-channel",
        "channel_member in-hidden": "orphan-channel",
        "message in-hidden": "orphan-channel",
        "message in-nowhere": "orphan-channel",
        "message rejected": "orphan-user",
    }


@pytest.mark.parametrize("said", ["null", "{}", ""])
def test_an_account_without_a_provider_has_lost_none(tmp_path: Path, said: str):
    builder = Builder(tmp_path / "webui.db", "0.6.43")
    builder.user(ADMIN, oauth=said)
    builder.user("broken", oauth='{"google": {}}')
    _, _, notes = migrated(builder.close().path)
    assert notes.examples("user", "oauth_sub", "oauth-unreadable") == ["broken"]


def test_settings_of_newer_versions_alarm_nobody(tmp_path: Path):
    builder = Builder(tmp_path / "webui.db")
    builder.user(ADMIN)
    builder.connection.executescript(
        "ALTER TABLE config RENAME TO config_old;"
        "INSERT INTO config_old (id, data, version) VALUES (1, '{}', 0);"
        "CREATE TABLE config (key TEXT PRIMARY KEY, value JSON, updated_at BIGINT);"
        "INSERT INTO config VALUES ('ui.enable_signup', 'true', 1), ('secret.thing', '\"sk-1\"', 1);"
        "UPDATE alembic_version SET version_num = 'b2c3d4e5f6a7'"
    )
    path = builder.close().path
    _, reasons, _ = migrated(path)
    assert {key.split()[0]: reason for key, reason in reasons.items()} == {
        "alembic_version": "bookkeeping", "config": "set-anew", "config_old": "set-anew",
    }  # fmt: skip
    with open_source(path) as source:
        assert config_settings(source) == [
            {"key": "secret.thing", "variable": None},
            {"key": "ui.enable_signup", "variable": "ENABLE_SIGNUP"},
        ]
        choice = options(allow_unknown=True)
        plan = plan_tables(source, choice)
        assert not dropped_columns(source, choice)
    # The new backend's own settings stay.
    assert "config" not in {table_map.target for table_map in plan}
    assert settings_stay({"tables": [{"source": "config", "target": None}]})


def test_one_tag_stands_for_those_of_all_accounts(tmp_path: Path):
    builder = Builder(tmp_path / "webui.db")
    for user in (ADMIN, "b", "c", "d"):
        builder.user(user)
    for user, name in ((ADMIN, "Go"), ("b", "Go"), ("c", "go"), ("d", "go")):
        builder.add("tag", id="go", user_id=user, name=name)
    choice = options()
    with open_source(builder.close().path) as source:
        tags = next(each for each in plan_tables(source, choice) if each.target == "tag")
        results = list(convert(source, tags, choice, Notes()))
    found = [row.reason if isinstance(row, Reject) else "kept" for row in results]
    assert found == ["kept", "merged-tag", "duplicate-key", "duplicate-key"]
