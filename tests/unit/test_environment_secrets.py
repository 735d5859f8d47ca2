"""Which values are secret, and hiding them."""

import pytest

from owctl.environment.masking import Mask, is_secret_key, secret_values


@pytest.mark.parametrize(
    "key",
    ["POSTGRES_PASSWORD", "WEBUI_SECRET_KEY", "OPENAI_API_KEY", "REDISCLI_AUTH", "GITHUB_TOKEN",
     "AWS_SECRET_ACCESS_KEY", "PGADMIN_DEFAULT_PASSWORD", "S3_PRIVATE_KEY", "db_passwd"],
)  # fmt: skip
def test_secret_keys(key: str) -> None:
    assert is_secret_key(key)


@pytest.mark.parametrize(
    "key",
    ["POSTGRES_USER", "ENABLE_API_KEY", "PASSWORD_FILE", "JWT_EXPIRES_IN", "AUTHOR", "TOKENIZER",
     "DO_NOT_TRACK", "PASSENGER", "TOKEN_TTL"],
)  # fmt: skip
def test_harmless_keys(key: str) -> None:
    assert not is_secret_key(key)


def test_secret_values() -> None:
    found = secret_values(
        {
            "A_PASSWORD": "first-secret",
            "SHORT_TOKEN": "abc",
            "EMPTY_SECRET": "",
            "NO_SECRET": None,
            "DATABASE_URL": "postgresql://user:second%40secret@host:5432/db",
            "REDIS_URL": "redis://:third-secret@redis:6379",
            "PLAIN_URL": "http://host:8080/path",
        }
    )
    assert found == {"first-secret", "second%40secret", "second@secret", "third-secret"}


def test_mask() -> None:
    mask = Mask({"secret", "secret-longer", "with space/slash"})
    assert mask("a secret-longer b secret c") == "a *** b *** c"
    assert mask("?p=with%20space%2Fslash&q=with+space%2Fslash") == "?p=***&q=***"
    assert mask.mask_bytes(b"x secret\xff") == b"x ***\xff"
    assert Mask(())("anything") == "anything"
    assert Mask({"line one\nline two"})("log: line two") == "log: ***"
    assert Mask({"a.*b+c"})("aXXb") == "aXXb"
