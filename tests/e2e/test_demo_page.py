"""A person's way through the demonstration's page, in a real browser."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.e2e.conftest import Project

pytestmark = pytest.mark.e2e

PATIENCE_SECONDS = 30
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """A fresh browser; where there is none the test is skipped, unless it is required."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        reason = "needs chromium and chromedriver (Debian: chromium, chromium-driver)"
        if os.environ.get("OWCTL_REQUIRE_DOCKER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = Chrome(options=options, service=ChromeService(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


class Page:
    """The demonstration's page, as somebody in front of it sees it."""

    def __init__(self, browser: Chrome, address: str) -> None:
        self.browser = browser
        browser.get(address)

    def enter(self, field: str, text: str) -> None:
        """Type into a field, in place of what is there."""
        element = self.browser.find_element(By.ID, field)
        if element.get_attribute("type") != "file":
            element.clear()
        element.send_keys(text)

    def press(self, button: str) -> None:
        """Press a button."""
        self.browser.find_element(By.ID, button).click()

    def wait_for(self, place: str, text: str) -> str:
        """Wait until a place shows a text; return all that it shows then."""

        def shown(browser: Chrome) -> str | None:
            whole = browser.find_element(By.ID, place).text
            return whole if text in whole else None

        return WebDriverWait(self.browser, PATIENCE_SECONDS, 0.1).until(shown)

    def errors(self) -> list[str]:
        """Return what the browser complained about since it was asked last."""
        entries = self.browser.get_log("browser")
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]


@pytest.fixture
def page(browser: Chrome, demo_stack: Project) -> Page:
    return Page(browser, f"http://127.0.0.1:{demo_stack.ports['frontend']}/")


def test_the_page_says_that_it_is_a_demonstration(page: Page) -> None:
    assert page.browser.title == "owctl demonstration stack"
    notice = page.browser.find_element(By.CLASS_NAME, "notice")
    assert "not Open WebUI" in notice.text


def test_sign_up_upload_and_socket(page: Page, tmp_path: Path) -> None:
    email = f"Person-{secrets.token_hex(4)}@Example.org"
    content = secrets.token_bytes(100_000)
    (tmp_path / "letter.bin").write_bytes(content)

    page.wait_for("backend-state", "version ")
    page.wait_for("socket-state", "connected (session ")

    page.enter("name", "A Person")
    page.enter("email", email)
    page.enter("password", "correct horse")
    page.press("sign-up")
    page.wait_for("account-state", f"Signed in as A Person ({email.lower()})")
    page.wait_for("socket-state", "connected as A Person")

    page.enter("file", str(tmp_path / "letter.bin"))
    page.press("upload")
    stored = page.wait_for("upload-state", "Stored letter.bin")
    assert "100000 bytes" in stored
    assert hashlib.md5(content).hexdigest() in stored
    assert page.errors() == []


def test_sign_in_again_and_with_a_wrong_password(page: Page) -> None:
    email = f"person-{secrets.token_hex(4)}@example.org"
    page.enter("name", "Somebody")
    page.enter("email", email)
    page.enter("password", "correct horse")
    page.press("sign-up")
    page.wait_for("account-state", "Signed in as Somebody")

    page.browser.refresh()
    page.enter("email", email)
    page.enter("password", "wrong horse")
    page.press("sign-in")
    page.wait_for("account-state", "Invalid email or password")

    page.enter("password", "correct horse")
    page.press("sign-in")
    page.wait_for("account-state", "Signed in as Somebody")
    page.wait_for("socket-state", "connected as Somebody")
