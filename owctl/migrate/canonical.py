"""A row as one text that both sides can make: here from what is sent, there from what is stored.

The server's is ``json_build_array(column, …)::text``. JSONB comes back with its keys in an order of
its own (shorter first, then by bytes), without duplicates, and with numbers written out. What is
made here has the same form, to the byte, so that equal hashes mean equal content.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

from owctl.migrate.json_tree import OddNumber, TreeReader
from owctl.migrate.model import Value

_JSON = ("jsonb", "json")
_HALF = 8
_ESCAPED = json.encoder.encode_basestring


class TooDeep(Exception):
    """A row's JSON is nested deeper than Python can follow."""


class RowHasher:
    """Adds up the hashes of a table's rows; the order of the rows does not matter.

    ``kinds`` are the columns' types as information_schema names them, ``reader`` is who has parsed
    the rows' JSON before, if somebody has. ``total`` is the sum that
    ``digest_query`` makes of the same rows on the server: two numbers.
    """

    def __init__(self, kinds: Sequence[str], reader: TreeReader | None = None) -> None:
        self.rows = 0
        self._first = 0
        self._second = 0
        self._reader = reader or TreeReader()
        self._encode = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
        self._others = [
            (number, _timestamp if kind.startswith("timestamp") else _decoded)
            for number, kind in enumerate(kinds)
            if kind not in _JSON
        ]
        self._json = [number for number, kind in enumerate(kinds) if kind in _JSON]

    @property
    def total(self) -> tuple[int, int]:
        """The two halves' sums."""
        return self._first, self._second

    def add(self, values: Sequence[Value]) -> None:
        """Take one row's values, in the order of the columns; raises TooDeep, then it is not in."""
        digest = self.digest(values)
        self._first += int.from_bytes(digest[:_HALF], "big", signed=True)
        self._second += int.from_bytes(digest[_HALF : 2 * _HALF], "big", signed=True)
        self.rows += 1

    def digest(self, values: Sequence[Value]) -> bytes:
        """Return the SHA-256 of one row's text."""
        return sha256(self.text(values).encode()).digest()

    def text(self, values: Sequence[Value]) -> str:
        """Return one row's text; raises TooDeep."""
        try:
            return self._text(values)
        except RecursionError as error:
            raise TooDeep from error

    def _text(self, values: Sequence[Value]) -> str:
        try:
            row: list[Any] = list(values)
            for number in self._json:
                if row[number] is not None:
                    row[number] = self._reader.tree(row[number])
        except (OddNumber, ValueError):
            # ValueError: an integer too long for Python to read by default.
            return self._exact(values)
        for number, normalise in self._others:
            value = row[number]
            if value.__class__ is bytes:
                row[number] = normalise(value)
        return self._encode(row)

    def _exact(self, values: Sequence[Value]) -> str:
        """Return the same text, number by number: slower, for rows with rare numbers."""
        row: list[Any] = list(values)
        for number in self._json:
            value = row[number]
            if isinstance(value, bytes):
                row[number] = json.loads(
                    value,
                    object_hook=self._reader.ordered,
                    parse_float=_Number,
                    parse_int=_Number,
                    strict=False,
                )
        for number, normalise in self._others:
            value = row[number]
            if isinstance(value, bytes):
                row[number] = normalise(value)
        return _written(row)


def digest_query(columns: Sequence[tuple[str, str]], table: str, but: str = "") -> str:
    """Return the SQL of the number of rows and the two sums.

    ``columns`` are (name, type), ``table`` is a name; names are quoted already. ``but`` is a
    column: rows whose value there is in the query's parameter, an array, are left out.
    """
    names = ", ".join(
        f"to_char({name}, 'YYYY-MM-DD HH24:MI:SS.US')" if kind.startswith("timestamp") else name
        for name, kind in columns
    )
    digest = f"sha256(convert_to(json_build_array({names})::text, 'UTF8'))"
    halves = ", ".join(
        f"coalesce(sum(('x' || encode(substr(digest, {start}, {_HALF}), 'hex'))"
        "::bit(64)::bigint::numeric), 0)"
        for start in (1, 1 + _HALF)
    )
    where = f" WHERE {but} <> ALL(%s)" if but else ""
    # OFFSET 0 keeps the inner query apart: merged with the outer one, it would make each hash twice.
    inner = f"SELECT {digest} AS digest FROM {table}{where} OFFSET 0"
    return f"SELECT count(*), {halves} FROM ({inner}) AS d"


class _Number(str):
    """A number's text, as it stands in JSON."""

    __slots__ = ()


def numeric_text(text: str) -> str:
    """Return a JSON number as PostgreSQL's numeric writes it."""
    written = format(Decimal(text), "f")
    return written.lstrip("-") if not written.strip("-0.") else written


def _written(tree: Any) -> str:  # noqa: ANN401  # any JSON value
    if isinstance(tree, _Number):
        return numeric_text(tree)
    if isinstance(tree, dict):
        pairs = (f"{_ESCAPED(name)}: {_written(value)}" for name, value in tree.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(_written, tree)) + "]"
    return json.dumps(tree, ensure_ascii=False)


def _decoded(value: bytes) -> str:
    return value.decode()


def _timestamp(value: bytes) -> str:
    moment = datetime.fromisoformat(value.decode())
    return moment.isoformat(sep=" ", timespec="microseconds")
