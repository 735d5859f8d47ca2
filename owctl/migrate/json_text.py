"""JSON text of the old database, made fit for jsonb without changing what it means.

jsonb takes less than Python's json module wrote: no ``\\u0000``, no lone surrogate, no NaN, no
number beyond numeric, no more than 268 435 455 bytes. Whether a text has one of these is asked
of its tokens, never of the text as a whole: ``\\\\u0000`` in it is a backslash and five letters.
"""

import json

from owctl.migrate.json_repair import JsonUnusable, is_plain, repair
from owctl.migrate.json_tree import TreeReader
from owctl.migrate.text import clean_text

# Up to here a text is parsed by the C parser, which makes objects of it; longer ones are walked
# through token by token, which takes no memory and knows jsonb's limit of size.
PARSED_BYTES = 16 * 1024 * 1024
_MAYBE_NULL_BYTES = 64


def clean_json(
    raw: bytes | float | None, reader: TreeReader | None = None
) -> tuple[bytes | None, tuple[str, ...]]:
    """Return the text as jsonb takes it, and what was changed (codes as in ``Notes``).

    None for SQL NULL, an empty text and JSON's own null: the old backend wrote each of them for
    "nothing", and the new one knows only NULL as that. A string that holds an object or an array
    (encoded twice) is decoded once. Raises JsonUnusable for what is no JSON or too large. ``reader``
    keeps what it has parsed.
    """
    if raw is None:
        return None, ()
    if not isinstance(raw, bytes):  # a column declared JSON makes numbers of texts like "5"
        return _number(raw)
    if len(raw) < _MAYBE_NULL_BYTES and raw.strip(b" \t\r\n\0") in (b"", b"null"):
        return None, ("null-text",)
    if len(raw) <= PARSED_BYTES and is_plain(raw) and (reader or TreeReader()).accepts(raw):
        return (raw, ()) if raw.lstrip()[:1] != b'"' else _decoded_once(raw, ())
    text, changes = clean_text(raw)
    assert text is not None
    text, repairs = repair(text)
    if len(text) < _MAYBE_NULL_BYTES and text.strip() == b"null":  # was NaN, or has much space
        return None, changes + (repairs or ("null-text",))
    if text.lstrip()[:1] == b'"':
        return _decoded_once(text, changes + repairs)
    return text, changes + repairs


def parsed(text: bytes | None) -> object:
    """Return the value of a text that came from clean_json."""
    return None if text is None else json.loads(text)


def _decoded_once(text: bytes, changes: tuple[str, ...]) -> tuple[bytes, tuple[str, ...]]:
    inner: str = json.loads(text)
    if not inner.lstrip().startswith(("{", "[")):
        return text, changes
    try:
        value, more = clean_json(inner.encode())
    except JsonUnusable:
        return text, changes
    assert value is not None
    return value, (*changes, *more, "double-encoded")


def _number(value: float) -> tuple[bytes | None, tuple[str, ...]]:
    if isinstance(value, int):
        return str(value).encode(), ()
    if value != value or value in (float("inf"), float("-inf")):
        return None, ("nan-to-null",)
    return repr(value).encode(), ()
