"""Accounts that share an address: stop, or one keeps it and the others get their own."""

from pathlib import Path
from typing import Any

import pytest

from owctl.errors import OwctlError
from owctl.migrate.convert.column_map import Converted, Notes, Options
from owctl.migrate.convert.mapping import convert, plan_tables
from owctl.migrate.source.database import open_source
from tests.migrate_sources.builder import ADMIN, Builder
from tests.migrate_sources.targets import options


def build(path: Path) -> Path:
    builder = Builder(path)
    builder.user(ADMIN, email="ann@example.com", last_active_at=10)
    builder.user("second", email="Ann@Example.com", last_active_at=30)
    builder.user("third", email="ann@example.com", last_active_at=20)
    builder.user("other", email="ben@example.com")
    builder.add("chat", id="of-third", user_id="third")
    return builder.close().path


def rows_of(path: Path, table: str, choice: Options) -> dict[str, dict[str, Any]]:
    with open_source(path) as source:
        table_map = next(m for m in plan_tables(source, choice) if m.target == table)
        found = {}
        for result in convert(source, table_map, choice, Notes()):
            assert isinstance(result, Converted)
            row = dict(zip(table_map.columns, result.values, strict=True))
            found[row["id"].decode()] = row
        return found


def test_shared_addresses_stop_the_migration(tmp_path: Path):
    path = build(tmp_path / "webui.db")
    with open_source(path) as source, pytest.raises(OwctlError) as caught:
        plan_tables(source, options())
    assert caught.value.details == (f"ann@example.com: second, third, {ADMIN}",)
    assert "--on-duplicate-email rename" in str(caught.value.hint)


def test_the_account_that_was_active_last_keeps_the_address(tmp_path: Path):
    path = build(tmp_path / "webui.db")
    choice = options(on_duplicate_email="rename")
    users, auths = rows_of(path, "user", choice), rows_of(path, "auth", choice)
    emails = {key: row["email"].decode() for key, row in users.items()}
    assert emails == {
        ADMIN: "ann+duplicate-admin000@example.com",
        "second": "ann@example.com",
        "third": "ann+duplicate-third@example.com",
        "other": "ben@example.com",
    }
    assert {key: row["email"].decode() for key, row in auths.items()} == emails
    assert rows_of(path, "chat", choice)["of-third"]["user_id"] == b"third"


def test_addresses_that_differ_between_user_and_auth_stay_unique(tmp_path: Path):
    builder = Builder(tmp_path / "webui.db")
    for user_id in ("one", "two"):
        builder.add("user", id=user_id, email=f"{user_id}@example.com")
        builder.add("auth", id=user_id, email="same@example.com")
    auths = rows_of(builder.close().path, "auth", options())
    assert auths["one"]["email"] == b"same@example.com"
    assert auths["two"]["email"] == b"two@example.com"


def test_a_renamed_address_is_not_taken_either(tmp_path: Path):
    builder = Builder(tmp_path / "webui.db")
    builder.user("keeps", email="ann@example.com", last_active_at=9)
    builder.user("abc", email="ann@example.com", last_active_at=1)
    builder.user("x", email="ann+duplicate-abc@example.com")
    users = rows_of(builder.close().path, "user", options(on_duplicate_email="rename"))
    assert users["abc"]["email"] == b"ann+duplicate-abc-2@example.com"


def test_the_heir_of_orphans_must_exist(tmp_path: Path):
    path = Builder(tmp_path / "webui.db").close().path
    with open_source(path) as source, pytest.raises(OwctlError, match="no user has the id nobody"):
        plan_tables(source, options(orphans="nobody"))
