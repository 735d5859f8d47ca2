"""Passwords: made once, listed for the administrator alone, in the form that the backend checks."""

import csv
import stat
from pathlib import Path

import argon2
import pytest

from owctl.migrate.passwords import (
    FILE_NAME,
    Account,
    Passwords,
    generate,
    hash_password,
    make_passwords,
    read_passwords,
    rewrite_list,
)

BCRYPT = "$2b$12$" + "a" * 53


def account(name: str, hashed: str = BCRYPT, *, active: bool = True) -> Account:
    return Account(name, f"{name}@example.org", name.title(), "user", active, hashed)


def test_a_hash_is_one_that_argon2_checks_with_the_backends_settings():
    hashed = hash_password("correct horse")
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert argon2.PasswordHasher().verify(hashed, "correct horse")
    with pytest.raises(argon2.exceptions.VerifyMismatchError):
        argon2.PasswordHasher().verify(hashed, "correct house")


def test_every_useless_hash_gets_a_password_of_its_own(tmp_path: Path):
    kept = account("kept", hash_password("old"))
    made = make_passwords(
        [account("ann"), account("ben"), kept, account("off", active=False)], "one-time", tmp_path
    )
    assert (made.one_time, made.kept, made.inactive, made.locked_out) == (2, 1, 1, 0)
    assert set(made.hashes) == {"ann", "ben"}
    words = read_passwords(tmp_path / FILE_NAME)
    assert len(set(words.values())) == 2
    for name, hashed in made.hashes.items():
        assert argon2.PasswordHasher().verify(hashed, words[name])
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    assert "hashes" not in repr(made)
    assert BCRYPT not in repr(account("ann"))


def test_a_second_run_keeps_the_passwords(tmp_path: Path):
    make_passwords([account("ann")], "one-time", tmp_path)
    before = read_passwords(tmp_path / FILE_NAME)
    made = make_passwords([account("ann"), account("ben")], "one-time", tmp_path)
    after = read_passwords(tmp_path / FILE_NAME)
    assert after["ann"] == before["ann"]
    assert argon2.PasswordHasher().verify(made.hashes["ben"], after["ben"])


def test_keep_makes_nothing_and_says_who_is_locked_out(tmp_path: Path):
    made = make_passwords([account("ann"), account("ben")], "keep", tmp_path)
    assert made.hashes == {}
    assert made.locked_out == 2
    assert "2 accounts CANNOT sign in" in made.lines()[0]
    assert list(tmp_path.iterdir()) == []


def test_the_list_is_that_of_the_new_database_in_the_end(tmp_path: Path):
    make_passwords([account("ann"), account("gone")], "one-time", tmp_path)
    word = read_passwords(tmp_path / FILE_NAME)["ann"]
    renamed = Account("ann", "ann+2@example.org", "=1+1", "admin", True, "")
    rewrite_list(tmp_path / FILE_NAME, [renamed, account("another")])
    with (tmp_path / FILE_NAME).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["email"], row["password"]) for row in rows] == [("ann+2@example.org", word)]
    # A spreadsheet must not take a name for a formula.
    assert rows[0]["name"] == "'=1+1"


def test_passwords_are_long_and_easy_to_type():
    words = {generate() for _ in range(200)}
    assert len(words) == 200
    for word in words:
        assert len(word.replace("-", "")) == 20
        assert not set(word) & set("0O1lIo")


def test_no_account_is_said_so():
    assert Passwords({}).lines() == ["The source has no accounts that sign in with a password."]
