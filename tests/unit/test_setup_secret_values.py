import re

import pytest

from owctl.project.secret_choice import is_placeholder, new_secret


@pytest.mark.parametrize(
    "value",
    [
        "",
        "   ",
        "your-secret-key-here",
        "your-32-char-secret-key-here",
        "your_secure_password",
        "change-me",
        "changeme",
        "CHANGE_ME",
        "please-change-this-password",
        "open_webui_password",
        "postgres",
        "password",
        "secret",
        "t0p-s3cr3t",
        "<generate me>",
        "xxxxxxxx",
        "********",
        "12345678",
    ],
)
def test_known_values_are_placeholders(value):
    assert is_placeholder(value)


@pytest.mark.parametrize(
    "value",
    ["hunter2-and-more", "k9d", "myQ8vZ2kLkeyR7tYw3nB5xC1", "correct horse battery", "ÄÖÜäöü"],
)
def test_other_values_are_not(value):
    assert not is_placeholder(value)


def test_new_secrets_are_long_plain_and_never_the_same():
    made = {new_secret() for _ in range(50)}

    assert len(made) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9]{32,}", secret) for secret in made)
    assert not any(is_placeholder(secret) for secret in made)
