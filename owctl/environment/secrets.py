"""Knows which values are secret, and hides them in what is shown."""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus, unquote

# Shorter values occur in ordinary text, and hiding them there would make it unreadable.
MIN_LENGTH = 6
REPLACEMENT = "***"

_SECRET_KEY = re.compile(
    r"(?:^|[_.-])(?:PASSWORD|PASSWD|PASSPHRASE|PASS|PWD|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|SECRET_?KEY"
    r"|PRIVATE(?:_?KEY)?|ENCRYPTION_?KEY|SIGNING_?KEY|CREDENTIALS?|AUTH)(?:$|[_.-])",
    re.IGNORECASE,
)
_HARMLESS_KEY = re.compile(
    r"^(?:ENABLE|DISABLE|USE|SHOW|ALLOW|REQUIRE)_|^(?:OLD)?PWD$"
    r"|_(?:FILE|PATH|DIR|NAME|HEADER|ALGORITHM|METHOD|TYPE|MODE|TIMEOUT|TTL|URL|LENGTH|EXPIRES?(?:_IN)?"
    r"|ENABLED)$",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*:([^\s@]+)@")


def is_secret_key(key: str) -> bool:
    """Return whether a variable of that name holds a secret."""
    return bool(_SECRET_KEY.search(key)) and not _HARMLESS_KEY.search(key)


def secret_values(mapping: Mapping[str, str | None]) -> frozenset[str]:
    """Return the secrets among a mapping's values: by their key, and passwords inside URLs."""
    found: set[str] = set()
    for key, value in mapping.items():
        if not value:
            continue
        if is_secret_key(key):
            found.add(value)
        for password in _URL_PASSWORD.findall(value):
            found |= {password, unquote(password)}
    return frozenset(value for value in found if len(value) >= MIN_LENGTH)


def hideable(secrets: Iterable[str], public: Iterable[str]) -> frozenset[str]:
    """Return the secrets that do not also stand in public words, such as the services' names.

    A password ``postgres`` cannot be hidden without hiding the service of that name.
    """
    words = tuple(public)
    return frozenset(value for value in secrets if not any(value in word for word in words))


def redacted(key: str, value: str) -> str:
    """Return a variable's value as it may be shown: of any length, unlike what a mask looks for."""
    if value and is_secret_key(key):
        return REPLACEMENT
    return _URL_PASSWORD.sub(
        lambda match: match[0].replace(f":{match[1]}@", f":{REPLACEMENT}@"), value
    )


class Mask:
    """Replaces secrets by ``***``: ``mask(text)``, ``mask.mask_bytes(data)``."""

    def __init__(self, values: Iterable[str]) -> None:
        forms: set[str] = set()
        for value in values:
            # A value with line ends is also hidden line by line, as logs show it.
            for text in {value, *value.splitlines()}:
                if len(text.strip()) >= MIN_LENGTH:
                    forms |= {text, quote(text, safe=""), quote_plus(text)}
        # Longest first: a secret that contains another is hidden whole.
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._text = re.compile("|".join(map(re.escape, ordered))) if ordered else None
        self._forms = [form.encode() for form in ordered]
        self._bytes = re.compile(b"|".join(map(re.escape, self._forms))) if ordered else None

    def __call__(self, text: str) -> str:
        """Return ``text`` without the secrets."""
        return self._text.sub(REPLACEMENT, text) if self._text else text

    def mask_bytes(self, data: bytes) -> bytes:
        """Return ``data`` without the secrets (in UTF-8)."""
        # Searching for each is ten times as fast as the pattern, and most data holds none.
        if self._bytes is None or not any(form in data for form in self._forms):
            return data
        return self._bytes.sub(REPLACEMENT.encode(), data)
