"""Who can sign in afterwards: those with a password, and an account that comes along."""

from pathlib import Path

from owctl.migrate.convert.mapping import plan_tables
from owctl.migrate.passwords import document, foretell, hash_password
from owctl.migrate.source.database import open_source
from tests.migrate_sources.builder import ADMIN, Builder
from tests.migrate_sources.targets import options


def build(path: Path) -> Path:
    builder = Builder(path)
    builder.user(ADMIN, role="admin")
    builder.user("off")
    builder.connection.execute("UPDATE auth SET active = 0 WHERE id = 'off'")
    builder.add("user", id="provider", email="provider@example.com")
    builder.add("user", id="another", email="another@example.com")
    builder.add("auth", id="ghost", email="ghost@example.com")
    builder.user("wide", email="e" * 300 + "@example.com")  # rejected, and its password with it
    builder.user("modern")
    builder.connection.execute(
        "UPDATE auth SET password = ? WHERE id = 'modern'", (hash_password("word"),)
    )
    return builder.close().path


def test_accounts_and_passwords_that_lack_each_other_are_told(tmp_path: Path):
    with open_source(build(tmp_path / "webui.db")) as source:
        plan_tables(source, options())
        made = foretell(source, options(), "one-time")
    assert (made.one_time, made.kept, made.inactive) == (1, 1, 1)
    assert (made.without, made.strays) == (2, 2)
    text = " ".join(made.lines())
    assert made.lines()[0].startswith("1 account can sign in with a one-time password")
    assert "2 accounts CANNOT sign in with a password: the old backend has none" in text
    assert "2 passwords of the source (rows of auth) belong to no account" in text
    assert "1 account is switched off" in text
    found = document(made, "one-time")
    assert (found["without_password"], found["passwords_without_account"]) == (2, 2)


def test_kept_hashes_let_nobody_in_whatever_else_is_there(tmp_path: Path):
    with open_source(build(tmp_path / "webui.db")) as source:
        plan_tables(source, options())
        made = foretell(source, options(), "keep")
    assert (made.one_time, made.locked_out, made.without) == (0, 1, 2)


def test_where_the_target_is_not_known_every_account_of_the_source_counts(tmp_path: Path):
    with open_source(build(tmp_path / "webui.db")) as source:
        made = foretell(source, None, "one-time")
    assert (made.one_time, made.without, made.strays) == (2, 2, 1)
