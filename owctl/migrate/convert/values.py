"""Values of single columns: text that PostgreSQL takes, numbers, times, names that are quoted."""

import codecs
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime

# -- Text of the old database, made fit for PostgreSQL: valid UTF-8 without NUL.


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


# -- The rules for single values: booleans, times, dates, lengths. Pure functions.
# Each takes what SQLite holds (bytes for text and blobs, int, float, None) and returns the value for
# PostgreSQL with the codes of what was changed; the caller counts those in ``Notes``.


Raw = bytes | int | float | None
Changes = tuple[str, ...]

# Seconds beyond these are milli-, micro- or nanoseconds: no chat was written after the year 5138.
_MILLISECONDS = 10**11
_MICROSECONDS = 10**14
_NANOSECONDS = 10**17
_BIGINT = 2**63

_TRUE = frozenset((b"1", b"true", b"t", b"yes", b"on"))
_FALSE = frozenset((b"0", b"false", b"f", b"no", b"off"))
_DECIMAL = re.compile(rb"[+-]?\d{1,19}\.\d*")
_DATE = re.compile(rb"\d{4}-\d{2}-\d{2}")


def boolean(raw: Raw, default: bool | None) -> tuple[bool | None, Changes]:
    """Return 0/1 and their words as a boolean; NULL is the default, as is what is neither."""
    if raw is None:
        return default, ()
    if isinstance(raw, bytes):
        word = raw.strip(b" \0").lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE, ()
        return default, ("boolean-unreadable",)
    return bool(raw), (() if raw in (0, 1) else ("boolean-guessed",))


def integer(raw: Raw) -> tuple[int | None, Changes]:
    """Return a bigint; None for NULL, and (``number-unreadable``) for what is no number."""
    if raw is None:
        return None, ()
    try:
        value = int(raw.strip(b" \0")) if isinstance(raw, bytes) else int(raw)
    except (ValueError, OverflowError):
        return None, ("number-unreadable",)
    if not -_BIGINT <= value < _BIGINT:
        return None, ("number-unreadable",)
    return value, (
        (("fraction-dropped",) if value != raw else ()) if isinstance(raw, float) else ()
    )


def seconds(raw: Raw) -> tuple[int | None, Changes]:
    """Return seconds since 1970; smaller units are brought to seconds (``ms-to-s`` …).

    A date and time in words is read as UTC. Unreadable is None (``time-unreadable``).
    """
    value, changes = _time(raw)
    if value is None:
        return None, changes
    if value > _NANOSECONDS:
        return value // 10**9, ("ns-to-s",)
    if value > _MICROSECONDS:
        return value // 10**6, ("us-to-s",)
    if value > _MILLISECONDS:
        return value // 10**3, ("ms-to-s",)
    return value, changes


def nanoseconds(raw: Raw) -> tuple[int | None, Changes]:
    """Return the time of a message or note as it is, whatever its unit; words as nanoseconds."""
    value, changes = _time(raw)
    if value is None or "time-from-words" not in changes:
        return value, changes
    return (value * 10**9 if abs(value) < _BIGINT // 10**9 else None), changes


def _time(raw: Raw) -> tuple[int | None, Changes]:
    value, changes = integer(raw)
    if value is None and changes and isinstance(raw, bytes):
        if _DECIMAL.fullmatch(raw.strip(b" \0")):
            return integer(float(raw.strip(b" \0")))
        moment = _moment(raw)
        if moment is None:
            return None, ("time-unreadable",)
        return int(moment.replace(tzinfo=UTC).timestamp()), ("time-from-words",)
    return value, (("time-unreadable",) if "number-unreadable" in changes else changes)


def timestamp(raw: Raw) -> tuple[bytes | None, Changes]:
    """Return ``YYYY-MM-DD HH:MM:SS[.ffffff]`` in UTC for a timestamp column; unreadable is None."""
    if raw is None:
        return None, ()
    moment = _moment(raw) if isinstance(raw, bytes) else None
    changes: Changes = ()
    if moment is None:
        value, changes = seconds(raw)
        try:
            moment = None if value is None else datetime.fromtimestamp(value, UTC)
        except (ValueError, OverflowError, OSError):
            moment, changes = None, ("time-unreadable",)
        changes = changes or ("time-from-number",)
    if moment is None:
        return None, changes
    return moment.replace(tzinfo=None).isoformat(" ").encode(), changes


def _moment(raw: bytes) -> datetime | None:
    """Read a date and time in words; one without a zone is in UTC, as the old backend wrote it."""
    try:
        moment = datetime.fromisoformat(raw.strip(b" \0").decode())
    except ValueError:
        return None
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        return None


def calendar_date(raw: Raw) -> tuple[bytes | None, Changes]:
    """Return ``YYYY-MM-DD`` as it is; anything else is NULL (``date-unreadable``)."""
    if raw is None or raw == b"":
        return None, ()
    if not isinstance(raw, bytes) or _DATE.fullmatch(raw) is None:
        return None, ("date-unreadable",)
    try:
        date.fromisoformat(raw.decode())
    except ValueError:
        return None, ("date-unreadable",)
    return raw, ()


# -- Names of tables and columns in SQLite statements.


def quoted(name: str) -> str:
    """Return a name as SQLite's identifier."""
    return '"' + name.replace('"', '""') + '"'
