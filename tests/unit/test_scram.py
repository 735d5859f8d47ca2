"""PostgreSQL's stored form of a password, against the values that RFC 7677 gives."""

import hashlib

import pytest

from owctl.postgres.login import make_verifier, matches

# User "user", password "pencil": the keys that follow from RFC 7677's salt.
PENCIL = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)


def test_the_password_of_the_specification():
    assert matches(PENCIL, "user", "pencil") is True
    assert matches(PENCIL, "user", "Pencil") is False


@pytest.mark.parametrize("password", ["x", 'it\'s "quoted" \\ $1', "grüße", "пароль", "a\u0000b"])
def test_what_is_made_matches_and_is_salted(password):
    first, second = make_verifier(password), make_verifier(password)
    assert first != second
    assert matches(first, "anybody", password) is True
    assert matches(first, "anybody", password + "x") is False
    assert password not in first or len(password) == 1
    assert first.isascii()
    assert "'" not in first


@pytest.mark.parametrize(("typed", "stored"), [("I\u00adX", "IX"), ("\u2168", "IX"), ("ª", "a")])
def test_spellings_of_one_password_are_one(typed, stored):
    """The examples of RFC 4013, section 3."""
    assert matches(make_verifier(stored), "user", typed) is True


def test_a_forbidden_character_is_taken_as_it_is():
    assert matches(make_verifier("ä\u0007"), "user", "ä\u0007") is True
    assert matches(make_verifier("\u06271"), "user", "\u06271") is True


def test_the_old_form():
    digest = hashlib.md5(b"secretweb").hexdigest()
    assert matches(f"md5{digest}", "web", "secret") is True
    assert matches(f"md5{digest}", "other", "secret") is False


@pytest.mark.parametrize(
    "text", ["", "plain", "SCRAM-SHA-256$x:y$z:w", PENCIL.replace("==$", "=$")]
)
def test_what_is_not_known_is_neither_right_nor_wrong(text):
    assert matches(text, "user", "pencil") is None
