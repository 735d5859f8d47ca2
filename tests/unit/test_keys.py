"""Keys as terminals send them: whole, in pieces, in both of their modes, and what is none."""

import pytest

from owctl.ui.full_screen import parse_keys


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"jk/", ["j", "k", "/"]),
        (b"\x1b[A\x1bOB", ["up", "down"]),
        (b"\x1b[5~\x1b[6~\x1b[H\x1b[4~", ["page up", "page down", "home", "end"]),
        (b"\r\n\x7f\x08\x15", ["enter", "enter", "backspace", "backspace", "ctrl u"]),
        ("ä漢🙂".encode(), ["ä", "漢", "🙂"]),
        # Functions, Alt, a mouse and a pasted text's brackets mean nothing here.
        (b"\x1b[15~a", ["a"]),
        (b"\x1bxa", ["a"]),
        (b"\x1b[<0;10;10Ma", ["a"]),
        (b"\x1b[200~ab\x1b[201~", ["a", "b"]),
        (b"\x1b\x1b[A", ["escape", "up"]),
        (b"\x01\x02\x80", []),
    ],
)
def test_keys(data: bytes, keys: list[str]):
    assert parse_keys(data) == (keys, b"")


@pytest.mark.parametrize("whole", [b"\x1b[A", b"\x1bOA", b"\x1b[5~", "漢".encode(), "🙂".encode()])
def test_a_key_that_comes_in_pieces(whole: bytes):
    expected, _ = parse_keys(whole)
    for cut in range(1, len(whole)):
        keys, rest = parse_keys(whole[:cut])
        assert (keys, rest) == ([], whole[:cut])
        assert parse_keys(rest + whole[cut:]) == (expected, b"")


def test_a_lone_escape_is_a_key_once_nothing_follows():
    assert parse_keys(b"a\x1b") == (["a"], b"\x1b")
    assert parse_keys(b"\x1b", more_may_come=False) == (["escape"], b"")


def test_bytes_that_are_no_text_are_no_keys():
    assert parse_keys(b"\xff\xfe", more_may_come=False) == ([], b"")


def test_nonsense_is_never_kept_for_ever():
    keys, rest = parse_keys(b"\x1b[" + b"1;" * 50 + b"q")
    assert len(rest) == 0
    assert keys[-1] == "q"
