"""What ``--since`` and ``--until`` accept."""

from datetime import UTC, datetime

import pytest

from owctl.observe.log_filter import parse_moment

NOW = 1_769_862_896.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10m", 600), ("2h30m", 9000), ("90s", 90), ("1d", 86400), ("1.5h", 5400), ("500ms", 0.5)],
)
def test_durations_count_back_from_now(text: str, seconds: float):
    assert parse_moment(text, NOW) == NOW - seconds


def test_times_with_a_zone():
    expected = datetime(2026, 1, 31, 12, 0, tzinfo=UTC).timestamp()
    assert parse_moment("2026-01-31T12:00:00Z", NOW) == expected
    assert parse_moment("2026-01-31T13:00:00+01:00", NOW) == expected
    assert parse_moment("2026-01-31T12:00:00.5Z", NOW) == expected + 0.5


def test_times_without_a_zone_are_local():
    expected = datetime(2026, 1, 31, 12, 0).astimezone().timestamp()
    assert parse_moment("2026-01-31T12:00", NOW) == expected
    assert parse_moment("2026-01-31 12:00:00", NOW) == expected


def test_seconds_since_1970():
    assert parse_moment("1769862896", NOW) == 1769862896
    assert parse_moment("1769862896.25", NOW) == 1769862896.25


@pytest.mark.parametrize("text", ["", "soon", "10", "10x", "-5m", "m", "2026-13-01", "12:00"])
def test_anything_else_is_answered_with_examples(text: str):
    with pytest.raises(ValueError, match="2h30m"):
        parse_moment(text, NOW)
