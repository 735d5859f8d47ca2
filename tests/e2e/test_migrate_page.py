"""The report's page in a real browser: whole without a network, its picture true to the numbers."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from owctl.migrate.report.page import write_page
from tests.e2e.test_demo_page import browser  # noqa: F401  # a fixture

pytestmark = pytest.mark.e2e

HOSTILE = '<script>document.title="taken"</script>'


def table(name: str, rows: int, inserted: int, merged: int = 0, **reasons: int) -> dict[str, Any]:
    return {
        "source": name,
        "target": name,
        "source_rows": rows,
        "inserted": inserted,
        "rejected": rows - inserted,
        "merged": merged,
        "sent_bytes": 0,
        "reasons": reasons,
        "examples": [{"key": {}, "reason": name, "detail": "for example"} for name in reasons],
    }


REPORT: dict[str, Any] = {
    "schema": 1,
    "project": "owls",
    "id": "20250131T031500Z-9f3a1c",
    "status": "migrated",
    "folder": "/srv/owls/migrations/20250131T031500Z-9f3a1c",
    "sign_in": {"lines": ["50 accounts can sign in with a one-time password."]},
    "source": {"kind": "container", "name": HOSTILE, "vector_data": True},
    "target": {"schema": "001-010", "service": "postgres"},
    "totals": {
        "source_rows": 1110, "inserted": 1050, "rejected": 60, "merged": 10, "unaccounted": 0,
    },
    "tables": [
        table("chat", 1000, 950, orphan=50),
        table("user", 100, 100),
        table("group_member", 10, 0, 10, merged_group=10),
        table("note", 0, 0),
    ],
    "notes": [{"table": "chat", "column": "title", "kind": "nul-removed", "count": 3}],
    "meanings": {
        "orphan": {"text": "its user is gone", "loses": True},
        "merged_group": {"text": "kept in its group", "loses": False},
        "nul-removed": {"text": "NUL characters removed", "loses": False},
    },
    "columns_without_target": [{"table": "folder", "column": "items", "rows": 3}],
    "config_settings": [{"key": "openai.api_keys", "variable": "OPENAI_API_KEY"}],
    "duplicate_emails": [], "rejected_accounts": [],
    "changes": ["message.chat_id may be NULL now"],
    "files": {
        "copied": 12, "copied_bytes": 34567, "missing": [{"id": "f1", "path": "/gone"}],
        "elsewhere": [], "unreferenced": [],
    },
    "proofs": [{"name": "sign-in", "status": "ok", "detail": "somebody signed in"}],
    "to_do": ["Hand out the passwords."],
}  # fmt: skip


def opened(browser: Chrome, report: dict[str, Any], folder: Path) -> Chrome:  # noqa: F811
    path = folder / "report.html"
    write_page(path, report)
    browser.get(path.as_uri())
    return browser


def test_the_page_shows_what_the_report_says(browser: Chrome, tmp_path: Path) -> None:  # noqa: F811
    page = opened(browser, REPORT, tmp_path)
    assert page.title == "Migration 20250131T031500Z-9f3a1c: migrated"
    assert page.find_element(By.TAG_NAME, "h1").text.endswith(": migrated")
    text = page.find_element(By.TAG_NAME, "body").text
    assert text.index("50 accounts can sign in") < text.index("1,110 rows in the source")
    for words in (
        "somebody signed in",
        "Hand out the passwords.",
        "nul-removed",
        HOSTILE,
        "NUL characters removed",
        "its user is gone",
        "items",
        "OPENAI_API_KEY",
    ):
        assert words in text
    assert page.find_element(By.CLASS_NAME, "ok").value_of_css_property("color") != "rgb(0, 0, 0)"
    assert [e for e in page.get_log("browser") if e["level"] == "SEVERE"] == []


def test_the_bars_are_as_long_as_the_numbers_are_large(
    browser: Chrome,  # noqa: F811
    tmp_path: Path,
) -> None:
    page = opened(browser, REPORT, tmp_path)
    (picture,) = page.find_elements(By.TAG_NAME, "svg")
    widths = {
        (bar.get_attribute("class"), round(bar.rect["y"])): bar.rect["width"]
        for bar in picture.find_elements(By.TAG_NAME, "rect")
    }
    by_row = [widths[key] for key in sorted(widths, key=lambda key: (key[1], key[0]))]
    migrated_chats, rejected_chats, users, members = by_row
    assert migrated_chats / rejected_chats == pytest.approx(19, rel=0.02)
    assert migrated_chats / users == pytest.approx(9.5, rel=0.02)
    assert members >= 2
    labels = [text.text for text in picture.find_elements(By.TAG_NAME, "text")]
    assert "950 migrated, 50 rejected" in labels
    assert "note" not in labels
    right = max(
        text.rect["x"] + text.rect["width"] for text in picture.find_elements(By.TAG_NAME, "text")
    )
    assert right <= picture.rect["x"] + picture.rect["width"] + 1


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    write_page(tmp_path / "report.html", REPORT)
    assert not re.search(
        r"(src|href)=|url\(|@import|https?:", (tmp_path / "report.html").read_text()
    )


def test_the_page_of_a_rehearsal(browser: Chrome, tmp_path: Path) -> None:  # noqa: F811
    report = copy.deepcopy(REPORT) | {
        "id": None,
        "status": "rehearsed",
        "environment": [{"name": "ENABLE_SIGNUP", "old": "false", "new": HOSTILE}],
        "space": {"copy_bytes": 1234567, "database_free_bytes": None, "estimated_seconds": 42},
    }
    for name in ("proofs", "folder"):
        del report[name]
    report["files"] = None
    page = opened(browser, report, tmp_path)
    assert page.title == "Migration, rehearsed"
    text = page.find_element(By.TAG_NAME, "body").text
    for words in ("1,234,567", "not known", "42", "ENABLE_SIGNUP", HOSTILE, "its user is gone"):
        assert words in text
    assert "Proven" not in text


def test_a_page_without_rows(browser: Chrome, tmp_path: Path) -> None:  # noqa: F811
    report = copy.deepcopy(REPORT) | {"tables": [], "notes": [], "changes": []}
    page = opened(browser, report, tmp_path)
    assert page.find_elements(By.TAG_NAME, "svg")
    assert "Changed on the way" not in page.find_element(By.TAG_NAME, "body").text
