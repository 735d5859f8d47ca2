"""The rules for values, against what JSON and UTF-8 mean."""

import json
import math
import re
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from owctl.migrate.convert import json_text
from owctl.migrate.convert.json_text import (
    JSONB_LIMIT_BYTES,
    JsonUnusable,
    clean_json,
    is_plain,
    repair,
)
from owctl.migrate.convert.values import (
    boolean,
    calendar_date,
    characters,
    clean_text,
    integer,
    is_utf8,
    nanoseconds,
    seconds,
    timestamp,
)

ANY_TEXT = st.text(st.characters(exclude_categories=[]) | st.sampled_from('\0\\"u0d8\ud83d\ude00'))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
    max_leaves=20,
)
_LONE = re.compile("[\ud800-\udfff]")


def expected(value: Any) -> Any:
    """What jsonb can hold of a value."""
    if isinstance(value, str):
        paired = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        return _LONE.sub("\ufffd", _as_pairs(paired)).replace("\0", "")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [expected(item) for item in value]
    if isinstance(value, dict):
        return {expected(key): expected(item) for key, item in value.items()}
    return value


def _as_pairs(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def same(left: Any, right: Any) -> bool:
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


@given(JSON_VALUES, st.sampled_from([None, 1]))
def test_clean_json_keeps_every_value_that_jsonb_can_hold(value: Any, indent: int | None):
    text = json.dumps({"v": value}, indent=indent)
    cleaned, _ = clean_json(text.encode())
    assert cleaned is not None
    found = json.loads(cleaned, parse_constant=pytest.fail)
    assert same(found, {"v": expected(json.loads(text)["v"])})


@given(JSON_VALUES)
def test_what_is_mended_once_needs_no_mending(value: Any):
    cleaned, _ = clean_json(json.dumps([value]).encode())
    assert cleaned is not None
    assert clean_json(cleaned) == (cleaned, ())
    assert repair(cleaned) == (cleaned, ())


@given(JSON_VALUES)
def test_the_walk_and_the_parser_agree_on_plain_text(value: Any):
    text = json.dumps([value]).encode()
    if is_plain(text) and b"NaN" not in text and b"Infinity" not in text:
        assert repair(text) == (text, ())


@given(st.text(st.sampled_from('{}[],:"\\u0dD8a9 1-.eEtrufalsn\n'), max_size=30))
def test_no_text_is_taken_that_is_no_json(text: str):
    try:
        json.loads(text)
        valid = True
    except ValueError:
        valid = False
    try:
        repair(text.encode())
        taken = True
    except JsonUnusable:
        taken = False
    assert taken == valid


@given(st.text(st.sampled_from("\\u0dD8ecE39a"), max_size=40))
def test_is_plain_never_says_so_of_an_escape_that_jsonb_refuses(text: str):
    try:
        value = json.loads(f'"{text}"')
    except ValueError:
        return
    if is_plain(f'"{text}"'.encode()):
        assert "\0" not in value
        assert not _LONE.search(value)


@given(st.binary())
def test_clean_text_is_what_postgresql_takes(raw: bytes):
    cleaned, changes = clean_text(raw)
    assert cleaned is not None
    assert b"\0" not in cleaned
    assert cleaned.decode().count("\ufffd") >= raw.decode("utf-8", "replace").count("\ufffd")
    assert ("utf8-replaced" in changes) == (not is_utf8(raw))
    assert changes or cleaned == raw
    assert clean_text(cleaned) == (cleaned, ())


def test_large_texts_are_mended_across_the_seams():
    odd = b"\xe5\xad" + b"x" * (1024 * 1024 - 3) + "字".encode() * 3 + b"\xff" * (1024 * 1024)
    expected = odd.decode("utf-8", "surrogateescape")
    assert clean_text(odd)[0] == _LONE.sub("\ufffd", expected).encode()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_characters_are_counted_as_postgresql_does(text: str):
    assert characters(text.encode()) == len(text)


def test_utf8_is_checked_across_the_seams_of_large_texts():
    text = ("x" + "字" * 500_000).encode()
    assert is_utf8(text)
    assert not is_utf8(text[:-1])
    assert not is_utf8(text + b"\xff")


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (None, None), (b"", None), (b"null", None), (b" null\n", None), (b"\0", None),
        (5, b"5"), (0.5, b"0.5"), (float("inf"), None), (b"false", b"false"),
        (b'"text"', b'"text"'), (b'"{}"', b"{}"), (b'"[1]"', b"[1]"), (b'"{oops"', b'"{oops"'),
        (b'"\\"{}\\""', b'"\\"{}\\""'),
    ],
)  # fmt: skip
def test_nothing_and_scalars(raw: Any, value: bytes | None):
    assert clean_json(raw)[0] == value


@pytest.mark.parametrize(
    "number",
    ["1e131071", "0.1e131072", "1e-16383", "1.5e-16382", "1" * 131_072, "0." + "0" * 16_382 + "1",
     "1e000000131071", "-1.5e16384", "0e999999"],
)  # fmt: skip
def test_numbers_that_numeric_holds_stay(number: str):
    assert clean_json(f"[{number}]".encode()) == (f"[{number}]".encode(), ())


@pytest.mark.parametrize(
    "number",
    ["1e131072", "10e131071", "1e-16384", "0e-16384", "1.5e-16383", "1" * 131_073, "1e99999999999",
     "0." + "0" * 16_383 + "1"],
)  # fmt: skip
def test_numbers_beyond_numeric_become_null(number: str):
    assert clean_json(f"[{number}]".encode()) == (b"[null]", ("number-to-null",))


def test_what_jsonb_has_no_room_for_is_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(JsonUnusable) as caught:
        clean_json(b'["' + b"x" * JSONB_LIMIT_BYTES + b'"]')
    assert caught.value.reason == "json-too-large"
    monkeypatch.setattr(json_text, "JSONB_LIMIT_BYTES", 100_000)
    with pytest.raises(JsonUnusable):  # small in text, large in jsonb
        repair(b"[" + b"1," * 10_000 + b"1]")


@pytest.mark.parametrize(
    ("raw", "value", "changes"),
    [
        (1_700_000_000, 1_700_000_000, ()),
        (1_700_000_000_000, 1_700_000_000, ("ms-to-s",)),
        (1_700_000_000_000_000, 1_700_000_000, ("us-to-s",)),
        (1_700_000_000_000_000_000, 1_700_000_000, ("ns-to-s",)),
        (1_700_000_000.5, 1_700_000_000, ("fraction-dropped",)),
        (b"1700000000", 1_700_000_000, ()),
        (b"2023-11-14 22:13:20", 1_700_000_000, ("time-from-words",)),
        (b"2023-11-14T23:13:20+01:00", 1_700_000_000, ("time-from-words",)),
        (b"yesterday", None, ("time-unreadable",)),
        (float("nan"), None, ("time-unreadable",)),
        (None, None, ()),
        (-5, -5, ()),
    ],
)
def test_seconds(raw: Any, value: int | None, changes: tuple[str, ...]):
    assert seconds(raw) == (value, changes)


@given(st.integers(10**9 + 1, 4 * 10**9), st.sampled_from([1, 10**3, 10**6, 10**9]))
def test_every_unit_of_a_plausible_time_becomes_seconds(moment: int, unit: int):
    assert seconds(moment * unit)[0] == moment
    assert nanoseconds(moment * unit)[0] == moment * unit


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (0, False),
        (1, True),
        (2, True),
        (b"0", False),
        (b"true", True),
        (b"False", False),
        (1.0, True),
    ],
)
def test_booleans(raw: Any, value: bool):
    assert boolean(raw, None)[0] is value


def test_booleans_that_say_nothing_take_the_default():
    assert boolean(None, True) == (True, ())
    assert boolean(b"maybe", False) == (False, ("boolean-unreadable",))


@given(st.integers() | st.floats() | st.binary())
def test_integers_fit_in_bigint(raw: Any):
    value, changes = integer(raw)
    assert value is None or -(2**63) <= value < 2**63
    assert value is not None or changes


@given(st.dates())
def test_dates_stay(day: date):
    assert calendar_date(day.isoformat().encode()) == (day.isoformat().encode(), ())


@pytest.mark.parametrize("raw", [b"2023-02-30", b"0000-01-01", b"20230101", b"2023-01-01 00:00", 5])
def test_what_is_no_date_is_null(raw: Any):
    assert calendar_date(raw) == (None, ("date-unreadable",))


@given(st.datetimes())
def test_timestamps_stay(moment: datetime):
    text = moment.isoformat(" ").encode()
    assert timestamp(text) == (text, ())


def test_timestamps_from_numbers_and_zones():
    expected = (
        datetime.fromtimestamp(1_700_000_000, UTC).replace(tzinfo=None).isoformat(" ").encode()
    )
    assert timestamp(1_700_000_000) == (expected, ("time-from-number",))
    assert timestamp(b"2023-11-14T23:13:20+01:00") == (expected, ())
    assert timestamp(b"soon") == (None, ("time-unreadable",))
