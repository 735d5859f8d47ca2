"""JSON text parsed once, by which it is both checked and hashed."""

import json
import re
from typing import Any

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
