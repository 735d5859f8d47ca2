"""Text of the old database, made fit for PostgreSQL: valid UTF-8 without NUL."""

import codecs
import re
from collections.abc import Iterator

_CHUNK_BYTES = 1024 * 1024
_ESCAPED = re.compile("[\ud800-\udfff]")
_NOT_CONTINUATION = bytes(byte for byte in range(256) if not 0x80 <= byte < 0xC0)
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean_text(raw: bytes | float | None) -> tuple[bytes | None, tuple[str, ...]]:
    """Return the value as UTF-8 without NUL, and what was changed.

    Each byte that is no UTF-8 becomes one U+FFFD (``utf8-replaced``); NULs are left out
    (``nul-removed``). Numbers, which SQLite may hold in any column, become their digits.
    """
    if raw is None:
        return None, ()
    if not isinstance(raw, bytes):
        return (str(raw) if isinstance(raw, int) else repr(raw)).encode(), ()
    changes: tuple[str, ...] = ()
    if not is_utf8(raw):
        raw = b"".join(_replaced(raw))
        changes = ("utf8-replaced",)
    if b"\0" in raw:
        raw = raw.replace(b"\0", b"")
        changes = (*changes, "nul-removed")
    return raw, changes


def _replaced(raw: bytes) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    view = memoryview(raw)
    for start in range(0, len(raw), _CHUNK_BYTES):
        last = start + _CHUNK_BYTES >= len(raw)
        text = decoder.decode(view[start : start + _CHUNK_BYTES], final=last)
        yield _ESCAPED.sub(REPLACEMENT, text).encode()


def is_utf8(raw: bytes) -> bool:
    """Tell whether the bytes are valid UTF-8, in memory that does not grow with them."""
    try:
        if len(raw) <= _CHUNK_BYTES:
            raw.decode()
            return True
        decoder = codecs.getincrementaldecoder("utf-8")()
        view = memoryview(raw)
        for start in range(0, len(raw), _CHUNK_BYTES):
            decoder.decode(view[start : start + _CHUNK_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def characters(text: bytes) -> int:
    """Return how many characters valid UTF-8 holds, as PostgreSQL counts for varchar(n)."""
    if text.isascii():
        return len(text)
    continuation_bytes = len(text.translate(None, _NOT_CONTINUATION))
    return len(text) - continuation_bytes
