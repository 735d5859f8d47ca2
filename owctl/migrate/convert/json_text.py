"""JSON text parsed once, by which it is checked, repaired and hashed."""

import json
import re
from typing import Any

from owctl.migrate.convert.values import clean_text

# -- JSON text parsed once, by which it is both checked and hashed.


# numeric writes out what is beyond these; only a closer look tells whether it holds it.
_LONG_NUMBER = 60
_LONG_EXPONENT = re.compile(r"[eE][+-]?\d{4,}")
_MOST_ORDERS = 4096
_MOST_KEPT_BYTES = 2 << 20
_SPACE = " \t\r\n"
UNKNOWN = object()


class _Suspect(ValueError):
    """The text holds something that only a walk by tokens can judge."""


class OddNumber(Exception):
    """A number whose text in PostgreSQL differs from what Python writes."""


class TreeReader:
    """Parses JSON, and keeps what became of the row at hand until the next one.

    Objects get their keys in the order of jsonb: shorter ones first, then by bytes.
    """

    def __init__(self) -> None:
        self._orders: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._kept: list[tuple[bytes, object]] = []
        self._odd = False
        self._checked = json.JSONDecoder(
            object_hook=self.ordered, parse_float=self._float, parse_constant=_refuse_constant
        ).raw_decode
        self._known = json.JSONDecoder(
            object_hook=self.ordered, parse_float=plain_float, strict=False
        ).decode

    def accepts(self, raw: bytes) -> bool:
        """Tell whether a text is JSON that jsonb takes for certain; False means: look closer."""
        self._odd = False
        try:
            text = raw.decode()
            if text[0] in _SPACE:
                text = text.lstrip(_SPACE)
            tree, end = self._checked(text)
        except (ValueError, RecursionError):
            return False
        if end != len(text) and text[end:].strip(_SPACE):
            return False
        if not self._odd and len(raw) <= _MOST_KEPT_BYTES:
            self._kept.append((raw, tree))
        return True

    def tree(self, text: bytes) -> Any:  # noqa: ANN401  # any JSON value
        """Return the value of a text that was accepted or mended; raises OddNumber, ValueError.

        The value is the caller's: a text that was kept is parsed again when it is asked for again.
        """
        for number, (kept, tree) in enumerate(self._kept):
            if kept is text:
                del self._kept[number]
                return tree
        return self._known(text.decode())

    def forget(self) -> None:
        """Let go of the row at hand."""
        self._kept.clear()

    def ordered(self, items: dict[str, Any]) -> dict[str, Any]:
        """Return an object with its keys in the order of jsonb."""
        names = tuple(items)
        order = self._orders.get(names)
        if order is None:
            if len(self._orders) >= _MOST_ORDERS:
                # Objects whose keys are ids never come again.
                self._orders.clear()
            order = self._orders[names] = tuple(sorted(names, key=_jsonb_order))
        return items if order == names else {name: items[name] for name in order}

    def _float(self, text: str) -> float:
        if len(text) > _LONG_NUMBER or _LONG_EXPONENT.search(text):
            raise _Suspect
        try:
            return plain_float(text)
        except OddNumber:
            self._odd = True
            return 0.0


def plain_float(text: str) -> float:
    """Return a number that PostgreSQL writes as Python does; raises OddNumber for another one."""
    value = float(text)
    # There -0.0 is 0.0, 1.50 keeps its zero, and 1e-7 is written out.
    if repr(value) != text or not value or "e" in text:
        raise OddNumber
    return value


def _refuse_constant(_name: str) -> None:
    raise _Suspect


def _jsonb_order(name: str) -> tuple[int, bytes]:
    data = name.encode()
    return len(data), data


# -- A walk through JSON text by its tokens: checks the grammar, mends what jsonb does not take.
# Needs no recursion and no memory beyond what it mends, so depth and size do not matter to it. What
# it does not mend stays as it stands, byte for byte: numbers, the order of keys, white space.


# The most that one string, and one array or object with all in it, may take in jsonb.
JSONB_LIMIT_BYTES = 0x0FFFFFFF
# Deeper nesting runs into PostgreSQL's max_stack_depth of 2 MB, with room to spare.
MAXIMUM_DEPTH = 6000
# numeric holds 131 072 digits before the point, 16 383 after it.
_DIGITS_BEFORE_POINT = 131_072
_DIGITS_AFTER_POINT = 16_383

_TOKEN = re.compile(
    rb"[ \t\n\r]*+(?:"
    rb'("(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+")'
    rb"|([\[\]{},:])"
    rb"|(-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?)"
    rb"|(true|false|null)"
    rb"|(NaN|-?Infinity))"
)
_STRING, _MARK, _NUMBER, _WORD, _CONSTANT = 1, 2, 3, 4, 5
_WHITE_SPACE = re.compile(rb"[ \t\n\r]*+")
# Each begins with a literal, which the regex engine searches for at the speed of memory.
_MAY_BE_REFUSED = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE_PAIR = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]")
_FEW_MATCHES_BYTES = 1024 * 1024
_ESCAPE = re.compile(rb"(\\u[dD][89abAB]..\\u[dD][c-fC-F]..)|(\\u[dD][89a-fA-F]..)|(\\u0000)|\\.")
_PAIR, _LONE, _NUL = 1, 2, 3


class JsonUnusable(ValueError):
    """The text is no JSON, or jsonb cannot hold it; ``reason`` is a code, ``detail`` a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def is_plain(raw: bytes, start: int = 0, end: int | None = None) -> bool:
    """Tell that no escape in the text can be one that jsonb refuses; False means: look closer."""
    stop = len(raw) if end is None else end
    if _MAY_BE_REFUSED.search(raw, start, stop) is None:
        return True
    if raw.find(b"\\u0000", start, stop) >= 0 or raw.find(b"\\\\u", start, stop) >= 0:
        return False
    pairs = _count(_SURROGATE_PAIR, raw, start, stop)
    return _count(_SURROGATE, raw, start, stop) == 2 * pairs


def _count(pattern: "re.Pattern[bytes]", raw: bytes, start: int, stop: int) -> int:
    if stop - start > _FEW_MATCHES_BYTES:
        return sum(1 for _ in pattern.finditer(raw, start, stop))
    return len(pattern.findall(raw, start, stop))  # twice as fast, but holds all matches


def repair(text: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Return the text as jsonb takes it, and the codes of what was mended.

    ``text`` is UTF-8 without NUL. ``\\u0000`` is left out (``nul-removed``), a lone surrogate
    becomes U+FFFD (``surrogate-replaced``), NaN, Infinity and numbers beyond numeric become null
    (``nan-to-null``, ``number-to-null``). Raises JsonUnusable.
    """
    walk = _Walk(text)
    position = 0
    while (token := _TOKEN.match(text, position)) is not None:
        walk.take(token)
        position = token.end()
    rest = _WHITE_SPACE.match(text, position)
    if rest is None or rest.end() != len(text) or not walk.complete:
        raise JsonUnusable("invalid-json", f"not valid JSON at byte {position}")
    return walk.result()


class _Walk:
    """Where the walk is: open brackets, what may come next, pieces mended so far."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._open = bytearray()
        self._next = "value"
        self._size = 0
        self._copied = 0
        self._pieces: list[bytes] = []
        self._changes: dict[str, None] = {}

    @property
    def complete(self) -> bool:
        return self._next == "end"

    def result(self) -> tuple[bytes, tuple[str, ...]]:
        if not self._pieces:
            return self._text, ()
        self._pieces.append(self._text[self._copied :])
        return b"".join(self._pieces), tuple(self._changes)

    def take(self, token: "re.Match[bytes]") -> None:
        """Accept the next token or raise JsonUnusable."""
        kind = token.lastindex or 0
        if kind == _MARK:
            self._mark(token)
            return
        if kind == _STRING and self._next in ("key", "key or close"):
            self._next = "colon"
        elif self._next in ("value", "value or close"):
            self._value_done()
        else:
            self._fail(token)
        start, end = token.span(kind)
        self._grow(end - start + 16)
        if kind == _STRING:
            self._string(start, end)
        elif kind == _CONSTANT:
            self._replace(start, end, b"null", "nan-to-null")
        elif kind == _NUMBER and end - start > 4 and not _fits_numeric(self._text[start:end]):
            self._replace(start, end, b"null", "number-to-null")

    def _mark(self, token: "re.Match[bytes]") -> None:
        mark = token[_MARK]
        follows = _AFTER_MARK.get((mark, self._next))
        if follows is not None:
            self._next = follows
            if mark in b"[{":
                self._enter(mark)
            elif mark == b"," and self._open[-1:] == b"{":
                self._next = "key"
        elif mark in b"]}" and self._closes(mark):
            self._open.pop()
            self._value_done()
        else:
            self._fail(token)

    def _closes(self, mark: bytes) -> bool:
        opened, empty = (b"[", "value or close") if mark == b"]" else (b"{", "key or close")
        return self._open[-1:] == opened and self._next in ("comma or close", empty)

    def _enter(self, mark: bytes) -> None:
        self._open += mark
        self._grow(16)
        if len(self._open) > MAXIMUM_DEPTH:
            raise JsonUnusable(
                "json-too-deep", f"nested deeper than {MAXIMUM_DEPTH} levels, more than jsonb takes"
            )

    def _value_done(self) -> None:
        self._next = "comma or close" if self._open else "end"

    def _grow(self, size_bytes: int) -> None:
        self._size += size_bytes
        if self._size > JSONB_LIMIT_BYTES:
            raise JsonUnusable("json-too-large", "larger than the 256 MB that jsonb holds")

    def _string(self, start: int, end: int) -> None:
        if is_plain(self._text, start, end):
            return
        mended: set[str] = set()

        def mend(escape: "re.Match[bytes]") -> bytes:
            if escape.lastindex == _LONE:
                mended.add("surrogate-replaced")
                return "\N{REPLACEMENT CHARACTER}".encode()
            if escape.lastindex == _NUL:
                mended.add("nul-removed")
                return b""
            return escape[0]

        string = _ESCAPE.sub(mend, self._text[start:end])
        for change in sorted(mended):
            self._replace(start, end, string, change)

    def _replace(self, start: int, end: int, piece: bytes, change: str) -> None:
        if start >= self._copied:
            self._pieces += [self._text[self._copied : start], piece]
            self._copied = end
        self._changes[change] = None

    def _fail(self, token: "re.Match[bytes]") -> None:
        raise JsonUnusable(
            "invalid-json", f"not valid JSON at byte {token.start(token.lastindex or 0)}"
        )


_AFTER_MARK = {
    (b"[", "value"): "value or close",
    (b"[", "value or close"): "value or close",
    (b"{", "value"): "key or close",
    (b"{", "value or close"): "key or close",
    (b":", "colon"): "value",
    (b",", "comma or close"): "value",
}


def _fits_numeric(number: bytes) -> bool:
    mantissa, _, exponent = number.lower().partition(b"e")
    if len(exponent.lstrip(b"+-0")) > 6:
        return False
    before, _, after = mantissa.lstrip(b"-").partition(b".")
    shift = int(exponent or 0)
    if len(after) - shift > _DIGITS_AFTER_POINT:
        return False
    digits = before + after
    leading_zeros = len(digits) - len(digits.lstrip(b"0"))
    return (
        leading_zeros == len(digits) or len(before) - leading_zeros + shift <= _DIGITS_BEFORE_POINT
    )


# -- JSON text of the old database, made fit for jsonb without changing what it means.
# jsonb takes less than Python's json module wrote: no ``\u0000``, no lone surrogate, no NaN, no
# number beyond numeric, no more than 268 435 455 bytes. Whether a text has one of these is asked
# of its tokens, never of the text as a whole: ``\\u0000`` in it is a backslash and five letters.


# Up to here a text is parsed by the C parser, which makes objects of it; longer ones are walked
# through token by token, which takes no memory and knows jsonb's limit of size.
PARSED_BYTES = 16 * 1024 * 1024
_MAYBE_NULL_BYTES = 64


def clean_json(
    raw: bytes | float | None, reader: TreeReader | None = None
) -> tuple[bytes | None, tuple[str, ...]]:
    """Return the text as jsonb takes it, and what was changed (codes as in ``Notes``).

    None for SQL NULL, an empty text and JSON's own null: the old backend wrote each of them for
    "nothing"; ``nothing.py`` says what the new one reads as that. A string that holds an object or an array
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
