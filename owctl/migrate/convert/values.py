"""One value on its way: its forms, how long it may be, what stands for nothing, which uploaded file a path names."""

import codecs
import posixpath
import re
from collections.abc import Container, Iterator
from datetime import UTC, date, datetime

from owctl.migrate.convert.column_map import Value

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


# -- Texts that are longer than their column: cut or emptied where they only describe.


# What people read and nothing refers to or decides by. A row is worth more than the end of its name.
_CUT = {
    "user": ("name", "username", "gender"),
    "channel": ("name",),
    "file": ("filename",),
    "folder": ("name",),
    "function": ("name",),
    "group": ("name",),
    "knowledge": ("name",),
    "model": ("name",),
    "tag": ("name",),
    "tool": ("name",),
}
# What a part of would be wrong: a key, a link, a checksum. The row does without.
_EMPTIED = {"user": ("api_key",), "chat": ("share_id",), "file": ("hash",)}
_ELLIPSIS = "…"
_LONGEST_ENDING = 16
# These belong to the character before them, or join it to the next.
_JOINING = "\u200d\ufe0e\ufe0f"


def fitted(
    table: str, column: str, text: bytes, max_length: int | None
) -> tuple[bytes | None, str | None]:
    """Return the text as the column takes it, and the code of what was changed, if it was.

    ``max_length`` is in characters. A text that identifies or decides something stays as it is, too
    long or not.
    """
    if max_length is None or len(text) <= max_length or characters(text) <= max_length:
        return text, None
    if column in _EMPTIED.get(table, ()):
        return None, "too-long-to-null"
    if column not in _CUT.get(table, ()):
        return text, None
    ending = _ending(text.decode()) if column == "filename" else ""
    kept = text.decode()[: max_length - len(_ELLIPSIS) - len(ending)].rstrip(_JOINING)
    return (kept + _ELLIPSIS + ending).encode(), "text-cut"


def _ending(name: str) -> str:
    """Return what follows a file's name and tells its kind; a program is chosen by it."""
    _, dot, ending = name.rpartition(".")
    return dot + ending if dot and ending.isalnum() and len(ending) < _LONGEST_ENDING else ""


# -- How the new backend reads a JSON column that says nothing: as SQL NULL or as JSON's null.


# The reasons, each seen at the real backend.
_NEVER_NULL = "read as never SQL NULL: one such row fails the list of everybody"
_NEVER_NULL_EARLIER = "the same, in earlier states of the backend"
_POLICY = "read as text and parsed: SQL NULL is public, JSON's null an object without permissions"
_OPTIONAL = "read as one that may be SQL NULL"

_JSON_NULL: Value = b"null"
_SQL_NULL: Value = None

# What stands for nothing in each JSON column of the target, and why. Where the map of columns has a
# default, that stands for SQL NULL of the source instead; JSON's null stays as it is.
NOTHING: dict[tuple[str, str], tuple[Value, str]] = {
    ("memory", "meta"): (_JSON_NULL, _NEVER_NULL),
    ("model", "params"): (_JSON_NULL, _NEVER_NULL),
    ("model", "meta"): (_JSON_NULL, _NEVER_NULL),
    ("model", "access_control"): (_JSON_NULL, _NEVER_NULL),
    ("chat", "meta"): (_JSON_NULL, _NEVER_NULL),
    ("knowledge", "data"): (_JSON_NULL, _NEVER_NULL_EARLIER),
    ("knowledge", "meta"): (_JSON_NULL, _NEVER_NULL_EARLIER),
    ("knowledge", "access_control"): (_JSON_NULL, _NEVER_NULL_EARLIER),
    **{
        (table, "access_control"): (_SQL_NULL, _POLICY)
        for table in ("channel", "file", "note", "prompt", "tool")
    },
    **{
        (table, column): (_SQL_NULL, _OPTIONAL)
        for table, columns in {
            "user": ("info", "settings"),
            "folder": ("data", "meta"),
            "chat": ("chat",),
            "channel": ("data", "meta"),
            "message": ("data", "meta"),
            "prompt": ("meta",),
            "tool": ("specs", "meta", "valves"),
            "function": ("meta", "valves"),
            "file": ("data", "meta"),
            "note": ("data", "meta"),
            "group": ("data", "meta", "permissions", "user_ids"),
            "tag": ("data",),
            "feedback": ("data", "meta", "snapshot"),
            "config": ("data",),
        }.items()
        for column in columns
    },
}


def nothing(table: str, column: str) -> Value:
    """Return what the column gets where the source says nothing: NULL, or the text ``null``."""
    return NOTHING.get((table, column), (_SQL_NULL, ""))[0]


def is_json_null(raw: object) -> bool:
    """Tell whether a value of the source is JSON's null itself, and not merely empty."""
    return isinstance(raw, bytes) and len(raw) < 64 and raw.strip(b" \t\r\n\0") == b"null"


# -- Which uploaded file a row names: by what its path ends with, whatever machine wrote what stands before.


_MARK = "/uploads/"


def upload_name(path: str, names: Container[str] | None = None) -> str | None:
    """Return a path's name below the folder of uploads; None if it is in no such folder, or empty.

    ``names`` are the files that were captured, as they are called there: a path that ends with one
    of them is that file. None: they are not known.
    """
    spellings = [path] if "\\" not in path else [path, path.replace("\\", "/")]
    marked = [None if "://" in spelled else _below_mark(spelled) for spelled in spellings]
    for spelled, below in zip(spellings, marked, strict=True):
        for name in tails(spelled):
            # What lies in a folder below uploads is not the file of that name that lies above it.
            if names is None or (below is not None and len(name) < len(below)):
                break
            if name in names:
                return name
    return marked[0] or marked[-1]


def tails(path: str) -> Iterator[str]:
    """Yield what a path ends with, the longest first."""
    parts = [part for part in path.split("/") if part]
    for start in range(len(parts)):
        yield "/".join(parts[start:])


def relative_to(folder: str, path: str) -> str | None:
    """Return a path's name below a folder of the new backend; None if it is not in there."""
    inside = posixpath.normpath(folder).rstrip("/") + "/"
    clean = posixpath.normpath(path)
    return clean.removeprefix(inside) if clean.startswith(inside) else None


def _below_mark(path: str) -> str | None:
    _, mark, name = ("/" + path).rpartition(_MARK)
    clean = posixpath.normpath(name) if mark and name and not name.endswith("/") else ""
    return None if not clean or clean.startswith(("..", "/")) else clean
