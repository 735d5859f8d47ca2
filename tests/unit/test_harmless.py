"""What a container writes cannot steer a terminal, and nothing but whole sequences is lost."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from owctl.environment.masking import harmless, harmless_line, harmless_text

# What must never come out, whatever goes in; a colour may, of a line.
DANGEROUS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
COLOR = re.compile(rb"\x1b\[[0-9;:]*m")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"plain \t text", b"plain \t text"),
        ("größe \u00a0 ✓ –".encode(), "größe \u00a0 ✓ –".encode()),
        (b"\x1b]0;title\x07after", b"after"),
        (b"\x1b]52;c;ZXZpbA==\x1b\\after", b"after"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", b"link"),
        ("\x1b]0;größe ✓\x07after".encode(), b"after"),
        (b"\x1b[2J\x1b[1;1Hclear\x1b[K", b"clear"),
        (b"\x1b[?1049hscreen", b"screen"),
        (b"\x1bPdcs\x1b\\after", b"after"),
        (b"\x1b_apc\x1b\\\x1b^pm\x1b\\\x1bXsos\x1b\\after", b"after"),
        (b"\x1bcreset\x1b(B\x1b7", b"reset"),
        # C1, as UTF-8 and as bytes that are none
        ("\x9b2Jc1\x9d0;title\x9c".encode(), b"c1"),
        (b"\x9b2J \xff", "\ufffd2J \ufffd".encode()),
        (b"cut in two \xe2\x9c", "cut in two \ufffd".encode()),
        ("next\x85line".encode(), b"next<U+0085>line"),
        # What has no end is no sequence: it is shown, and hides nothing that follows.
        (b"\x1b]8;;never closed", b"^[]8;;never closed"),
        ("\x9dnever closed".encode(), b"<U+009D>never closed"),
        (b"ends in \x1b", b"ends in ^["),
        (b"ends in \x1b[", b"ends in ^[["),
        (b"over\rwrite\x08\x07\x00\x7f", b"over^Mwrite^H^G^@^?"),
        (b"windows\r", b"windows"),
        ("evil\u202egnp.exe".encode(), b"evil<U+202E>gnp.exe"),
        ("a\u2028b".encode(), b"a<U+2028>b"),
    ],
)
def test_what_is_left_of_a_line(written: bytes, shown: bytes):
    assert harmless(written + b"\n") == shown + b"\n"
    assert harmless_line(written + b"\n") == shown + b"\n"


def test_colours_of_a_line_end_with_it():
    assert harmless_line(b"\x1b[31mred\n") == b"\x1b[31mred\x1b[0m\n"
    assert harmless(b"\x1b[31mred\n") == b"red\n"
    # 8 conceals what follows; within a colour of 256 it is dark grey.
    assert harmless_line(b"\x1b[38;5;8mgrey\n") == b"\x1b[38;5;8mgrey\x1b[0m\n"
    assert harmless_line(b"\x1b[1;8mhidden\n") == b"hidden\n"


def test_text():
    assert harmless_text("a\x1b[2Jb \ud800") == "ab ?"


_STEERING = b"\x1b [ ] P 2J 0; m \x07 \\ \xc2 \x9b \x9d \x9c \x08 x \xe2 \x80 \xae \xc3\xa9 \x1b[31m \x1b[8m"
PIECES = st.sampled_from([*_STEERING.split(b" "), b"\r", b"\n"])


@given(st.lists(PIECES | st.binary(max_size=3), max_size=40))
@settings(max_examples=250, deadline=None)
def test_whatever_goes_in_nothing_dangerous_comes_out(pieces: list[bytes]):
    written = b"".join(pieces)
    shown = harmless(written)
    assert not DANGEROUS.search(shown.decode())
    assert shown.count(b"\n") == written.count(b"\n")
    assert harmless(shown) == shown
    line = written.replace(b"\n", b"") + b"\n"
    colored = harmless_line(line)
    assert not DANGEROUS.search(COLOR.sub(b"", colored).decode())
    assert harmless(colored) == harmless(line)
    assert colored.endswith(b"\x1b[0m\n") or b"\x1b" not in colored


@pytest.mark.parametrize("piece", [b"\x1b]", b"\xc2\x9d", b"\x1b[1;", b"\x1b[31m", b"\r", b"\x1b"])
def test_a_long_line_of_the_worst_takes_no_time(piece: bytes):
    # A search that starts again at each would take hours.
    assert harmless(piece * 100_000 + b"\n").endswith(b"\n")
