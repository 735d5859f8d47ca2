"""Small bars: scale, width, gaps, and terminals that know only ASCII."""

import pytest

from owctl.ui.table import sparkline


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [
        ([], 8, ""),
        ([0.0, 0.0], 8, "▁▁"),
        ([1, 2, 3, 4, 5, 6, 7, 8], 8, "▂▃▄▅▅▆▇█"),
        ([5.0], 8, "█"),
        ([8, None, 4], 8, "█×▅"),
        ([None, None], 8, "××"),
        ([100, 1, 1, 2], 2, "▅█"),
        ([1, 2], 0, ""),
    ],
)
def test_bars_go_from_zero_to_the_highest_shown(values, width, expected):
    assert sparkline(values, width) == expected


def test_an_ascii_terminal_gets_ascii():
    text = sparkline([1, None, 8], 8, ascii_only=True)
    assert text.isascii()
    assert text == "-x#".replace("-", text[0])
    assert text[0] != text[2]
