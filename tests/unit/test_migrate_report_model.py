"""What a dry run says of the source itself."""

from pathlib import Path

from owctl.migrate.convert.column_map import Notes, Reject
from owctl.migrate.convert.mapping import convert, plan_tables
from owctl.migrate.report.model import describe, meanings, source_document
from owctl.migrate.report.page import _accounts
from owctl.migrate.report.rejects import RejectFile, rejected_accounts
from owctl.migrate.source.database import open_source
from tests.migrate_sources.builder import ADMIN, Builder
from tests.migrate_sources.targets import options
from tests.migrate_sources.traps import build_with_traps

CONFIG = """{"version": 0, "ui": {"enable_signup": false, "banners": [{"id": 1}]},
 "openai": {"api_keys": ["sk-secret"], "api_configs": {"http://ann:sk-secret@host": {}}}, "rag": {"top_k": 3}}"""


def test_a_source_is_told_by_its_columns(tmp_path: Path):
    path = build_with_traps(tmp_path / "webui.db", "0.6.43").path
    with open_source(path) as source:
        found = source_document(source)
    assert (found["version"], found["damage"]) == ("0.6.43", [])
    assert found["size_bytes"] == path.stat().st_size
    assert found["alembic_head"]


def test_every_code_of_a_report_is_told_in_words():
    tables = [{"reasons": {"orphan-user": 2, "merged-group": 1}}, {"reasons": {}}]
    notes = [{"kind": "ms-to-s"}, {"kind": "date-unreadable"}]
    found = meanings(tables, notes)
    assert {code: each["loses"] for code, each in found.items()} == {
        "date-unreadable": True, "merged-group": False, "ms-to-s": False, "orphan-user": True,
    }  # fmt: skip
    assert all(each["text"] != code for code, each in found.items())


def test_settings_are_named_but_never_shown(tmp_path: Path):
    builder = Builder(tmp_path / "webui.db")
    builder.add("config", id=1, data='{"old": 1}')
    builder.add("config", id=2, data=CONFIG)
    with open_source(builder.close().path) as source:
        report = describe(source, options())
    found = {each["key"]: each["variable"] for each in report["config_settings"]}
    assert found == {
        "version": None,
        "ui.enable_signup": "ENABLE_SIGNUP",
        "ui.banners": None,
        "openai.api_keys": "OPENAI_API_KEY",
        "openai.api_configs": None,
        "rag.top_k": None,
    }
    assert "sk-secret" not in repr(report)


def test_columns_that_nothing_takes_are_listed(tmp_path: Path):
    path = build_with_traps(tmp_path / "webui.db", "0.6.43").path
    with open_source(path) as source:
        newer, older = (
            {
                (each["table"], each["column"])
                for each in describe(source, options(target))["columns_without_target"]
            }
            for target in ("001-010", "001-006")
        )
    assert ("channel_member", "joined_at") in newer
    assert ("user", "oauth") not in newer
    assert older >= newer


def test_accounts_with_one_address_are_named(tmp_path: Path):
    builder = Builder(tmp_path / "webui.db")
    builder.user(ADMIN, email="Ann@example.com", last_active_at=1)
    builder.user("later", email="ann@example.com", last_active_at=2)
    with open_source(builder.close().path) as source:
        found = describe(source, options())["duplicate_emails"]
    assert found == [{"email": "ann@example.com", "accounts": ["later", ADMIN]}]


def test_accounts_that_stay_behind_stand_first_by_their_addresses(tmp_path: Path):
    address = f"{'e' * 300}@example.com"
    builder = Builder(tmp_path / "webui.db")
    builder.user(ADMIN)
    builder.user("unfit", email=address)
    choice = options()
    with open_source(builder.close().path) as source, RejectFile(tmp_path, "user") as rejects:
        users = next(each for each in plan_tables(source, choice) if each.target == "user")
        for row in convert(source, users, choice, Notes()):
            if isinstance(row, Reject):
                rejects.add(row)
    accounts = rejected_accounts(tmp_path)
    assert accounts == [
        {"id": "unfit", "email": address, "reason": "too-long",
         "detail": "email has 312 characters, 255 are allowed"},
    ]  # fmt: skip
    assert rejected_accounts(tmp_path / "elsewhere") == []
    page = "".join(_accounts(accounts))
    assert address in page
