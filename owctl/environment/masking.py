"""What may be shown: secret values masked, and what others wrote made harmless."""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus, unquote

# -- Knows which values are secret, and hides them in what is shown.


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


# -- What others wrote, made harmless for a terminal: no sequence that steers it, no broken UTF-8.
# Complete control sequences go (a terminal would not show them either). Whatever else cannot be
# printed is shown: ``^M`` for a control character, ``<U+202E>`` for one that turns the direction of
# writing. The end of a line stays where it is.


# Everything below a space but tab and newline, and DEL.
_CONTROLS = bytes({*range(32), 127} - {9, 10})
# C1 controls, the marks that turn or hide what stands beside them, and Unicode's own line ends.
_HIDDEN = re.compile("[\x80-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_COLOR = re.compile(rb"\x1b\[[0-9;:]*m")
_SEQUENCE = re.compile(
    rb"(?P<color>\x1b\[[0-9;:]*m)"  # SGR: colours and styles
    rb"|(?:\x1b\[|\xc2\x9b)[0-?]*[ -/]*[@-~]"  # other CSI: cursor, erasing, modes
    # OSC, DCS, SOS, PM, APC up to their end: titles, clipboard, links
    rb"|(?:\x1b[\]PX^_]|\xc2[\x90\x98\x9d-\x9f])"
    rb"(?:[^\x07\x1b\n\xc2]|\xc2[^\x80-\x9f\n])*(?:\x07|\x1b\\|\xc2\x9c)"
    rb"|\x1b[ -/]*[0-OQ-WYZ\\`-~]"  # other escapes: reset, character sets
    rb"|\r+(?=\n)"
    rb"|(?P<shown>[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xd8\x9c"
    rb"|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9])"
)
# The parameters of a colour of 256 or of 16 million, of which an 8 may be one.
_EXTENDED = re.compile(rb"[345]8[;:](?:5[;:]\d*|2(?:[;:]\d*){3,4})")
_CONCEAL = re.compile(rb"(?:^|;)0*8(?:;|$)")
_RESET = b"\x1b[0m"


def harmless(data: bytes) -> bytes:
    """Return lines in UTF-8 without control characters, colours neither; fast where none are."""
    data, clean = _examined(data)
    if clean:
        return data
    # Most that write colours write nothing worse: one pass without a call for each.
    without_colors, clean = _examined(_COLOR.sub(b"", data))
    return without_colors if clean else _SEQUENCE.sub(_replaced, data)


def harmless_text(text: str) -> str:
    """Return one or several lines of text as ``harmless`` does."""
    return harmless(text.encode("utf-8", "replace")).decode()


def harmless_line(line: bytes) -> bytes:
    """Return a line, with its newline, with its colours, which end with it, and nothing else."""
    line, clean = _examined(line)
    if clean:
        return line
    kept = False

    def keep(match: re.Match[bytes]) -> bytes:
        nonlocal kept
        color = match["color"]
        if color is None or _CONCEAL.search(_EXTENDED.sub(b"", color[2:-1])):
            return _replaced(match)
        kept = True
        return color

    shown = _SEQUENCE.sub(keep, line)
    return shown.removesuffix(b"\n") + _RESET + b"\n" if kept else shown


def _examined(data: bytes) -> tuple[bytes, bool]:
    """Return the data in valid UTF-8, and whether it is harmless already."""
    clean = len(data.translate(None, _CONTROLS)) == len(data)
    if data.isascii():
        return data, clean
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
        data = text.encode()
    return data, clean and not _HIDDEN.search(text)


def _replaced(match: re.Match[bytes]) -> bytes:
    shown = match["shown"]
    if shown is None:
        return b""
    if len(shown) == 1:
        return b"^" + bytes([shown[0] ^ 64])
    return b"<U+%04X>" % ord(shown.decode())
