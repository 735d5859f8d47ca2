"""What a dry run says of the source itself."""

from pathlib import Path

from owctl.migrate.report_model import describe
from owctl.migrate.source import open_source
from tests.migrate_sources.builder import ADMIN, Builder
from tests.migrate_sources.targets import options
from tests.migrate_sources.traps import build_with_traps

CONFIG = """{"version": 0, "ui": {"enable_signup": false, "banners": [{"id": 1}]},
 "openai": {"api_keys": ["sk-secret"], "api_configs": {"http://ann:sk-secret@host": {}}}, "rag": {"top_k": 3}}"""


def test_accounts_are_counted_by_what_lets_them_in(tmp_path: Path):
    builder = Builder(tmp_path / "webui.db")
    for number, password in enumerate(["$2b$12$x", "$2y$10$x", "$argon2id$v=19$x", "", "plain"]):
        builder.add("user", id=f"u{number}", email=f"u{number}@example.com")
        builder.add("auth", id=f"u{number}", email=f"u{number}@example.com", password=password)
    with open_source(builder.close().path) as source:
        report = describe(source, options())
    assert report.password_hashes == {"bcrypt": 2, "argon2": 1, "none": 1, "other": 1}
    assert report.rows["user"] == 5
    assert (report.version, report.integrity) == ("0.6.32", ())
    assert report.needed_bytes > report.size_bytes > 0


def test_settings_are_named_but_never_shown(tmp_path: Path):
    builder = Builder(tmp_path / "webui.db")
    builder.add("config", id=1, data='{"old": 1}')
    builder.add("config", id=2, data=CONFIG)
    with open_source(builder.close().path) as source:
        report = describe(source, options())
    found = {setting.key: setting.variable for setting in report.settings}
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
        newer = {(c.table, c.column) for c in describe(source, options()).dropped_columns}
        older = {(c.table, c.column) for c in describe(source, options("001-006")).dropped_columns}
    assert ("channel_member", "joined_at") in newer
    assert ("user", "oauth") not in newer
    assert older >= newer


def test_accounts_with_one_address_are_named(tmp_path: Path):
    builder = Builder(tmp_path / "webui.db")
    builder.user(ADMIN, email="Ann@example.com", last_active_at=1)
    builder.user("later", email="ann@example.com", last_active_at=2)
    with open_source(builder.close().path) as source:
        assert describe(source, options()).duplicate_emails == {"ann@example.com": ("later", ADMIN)}
