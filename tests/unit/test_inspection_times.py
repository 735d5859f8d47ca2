"""When a container was started, whatever engine says it."""

import pytest

from owctl.engine.inspection import _time


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("2026-11-22T17:29:18.936600142Z", "2026-11-22T17:29:18.936600142Z"),
        ("2026-11-22T18:29:18.936600142+01:00", "2026-11-22T17:29:18.936600142Z"),
        ("2026-11-22T00:29:18-05:30", "2026-11-22T05:59:18Z"),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        (None, None),
    ],
)
def test_a_time_is_utc(said, expected):
    assert _time(said) == expected
