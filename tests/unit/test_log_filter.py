"""Which lines are chosen, and where the last N of them begin."""

import re
from collections.abc import Callable, Iterator

import pytest

from owctl.environment.masking import Mask
from owctl.observe.log_filter import Line, LineFilter, Source, Window
from owctl.observe.log_read import TailStart, find_tail
from owctl.ui.log_text import Safety

SHOWN = Safety(Mask(["s3cret-p4ssword", "two\nlines-of-it"]).mask_bytes).plain


def line(text: str, service: str = "web", stream: str = "stdout") -> Line:
    source = Source(service, service, service, service, tty=False, started_at=None)
    return (b"2026-01-01T00:00:00.000000000Z", source, stream, text.encode() + b"\n")


LINES = [line(text) for text in ("one", "\x1b[31mtwo\x1b[0m", "s3cret-p4ssword", "größe", "")]


def chosen(chooser: LineFilter, lines: list[Line] = LINES) -> list[str]:
    return [entry[3].decode().rstrip("\n") for entry in chooser.choose(lines)[0]]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("^one$", ["one"]),
        ("^two$", ["\x1b[31mtwo\x1b[0m"]),
        ("s3cret", []),
        (r"^\*\*\*$", ["s3cret-p4ssword"]),
        (r"^gr\w{2}e$", ["größe"]),
        ("(?i)GRÖSSE|GRÖßE", ["größe"]),
        ("^$", [""]),
    ],
)
def test_a_pattern_is_looked_for_in_what_is_shown(pattern: str, found: list[str]):
    compiled = re.compile(pattern)
    assert chosen(LineFilter(SHOWN, pattern=compiled)) == found
    others = [entry[3].decode()[:-1] for entry in LINES if entry[3].decode()[:-1] not in found]
    assert chosen(LineFilter(SHOWN, pattern=compiled, invert=True)) == others


def test_raw_lines_are_looked_at_as_they_are():
    assert chosen(LineFilter(pattern=re.compile("s3cret"))) == ["s3cret-p4ssword"]
    broken = (*LINES[0][:3], b"\xff\n")
    assert LineFilter(pattern=re.compile("�")).choose([line("x"), broken])[0] == [broken]


def test_a_secret_of_several_lines_does_not_shift_them():
    lines = [line("two"), line("lines-of-it"), line("three")]
    assert chosen(LineFilter(SHOWN, pattern=re.compile("three")), lines) == ["three"]


def test_levels_and_pattern_must_both_agree():
    lines = [line(text) for text in ("ERROR one", "  more of it", "INFO one", "WARN two", "one")]
    for arguments, found in (
        ({"levels": {"error"}}, ["ERROR one", "  more of it"]),
        (
            {"levels": {"error", "warn"}, "pattern": re.compile("one|two")},
            ["ERROR one", "WARN two"],
        ),
        ({"levels": {"info"}, "pattern": re.compile("x"), "invert": True}, ["INFO one"]),
    ):
        assert chosen(LineFilter(SHOWN, **arguments), lines) == found
    _, levels = LineFilter(SHOWN, tell_levels=True).choose(lines)
    assert levels == ["error", "error", "info", "warn", None]
    chooser = LineFilter(SHOWN, tell_levels=True, pattern=re.compile("two"))
    assert chooser.choose(lines)[1] == ["warn"]


def test_streams_and_containers_have_levels_of_their_own():
    lines = [line("ERROR x"), line("  y", stream="stderr"), line("  y", "db"), line("  y")]
    assert chosen(LineFilter(levels={"error"}), lines) == ["ERROR x", "  y"]


def test_skipping_counts_chosen_lines_of_a_container():
    chooser = LineFilter(pattern=re.compile("a"))
    chooser.skip("web", 2)
    lines = [line("a1"), line("b"), line("a2"), line("a1", "db"), line("a3")]
    assert chosen(chooser, lines[:2]) == []
    assert chosen(chooser, lines[2:]) == ["a1", "a3"]
    assert chosen(chooser, lines) == ["a1", "a2", "a1", "a3"]


def log(*texts: str) -> tuple[Callable[[int | None], Iterator[tuple[list[Line], int]]], list]:
    """A log whose entries are parts of lines: "<" begins one that goes on. Also what was asked."""
    asked: list[int | None] = []

    def read(entries: int | None) -> Iterator[tuple[list[Line], int]]:
        asked.append(entries)
        found = texts if entries is None else texts[-entries:]
        lines, begun = [], ""
        for text in found:
            begun += text.removeprefix("<")
            if not text.startswith("<"):
                lines.append(line(begun))
                begun = ""
        yield lines[:1], 1
        yield lines[1:], len(found)

    return read, asked


def test_the_last_lines_are_whole():
    read, _ = log("1", "2", "<3a", "<3b", "3c", "4")
    every = LineFilter()
    # The last two entries are "3c" and "4"; the line 3 has begun before.
    assert find_tail(read, Window(tail=1), every) == TailStart(2, 1)
    assert find_tail(read, Window(tail=2), every) == TailStart(None, 2)
    assert find_tail(read, Window(tail=9), every) == TailStart(None, 0)


def test_the_last_lines_are_those_that_are_chosen():
    texts = [f"line {number}" for number in range(20_000)]
    read, asked = log(*texts)
    start = find_tail(read, Window(tail=2), LineFilter(pattern=re.compile("00$")))
    assert start == TailStart(1000, 8)
    assert asked == [1000]
    # What is rare is looked for further back; without enough of it, everything is read.
    rare = LineFilter(pattern=re.compile("line 1$"))
    read, asked = log(*texts)
    assert find_tail(read, Window(tail=1), rare) == TailStart(None, 0)
    assert asked == [1000, 8000, 64000]


def test_with_an_end_the_engine_cannot_count():
    read, asked = log("1", "2", "3")
    assert find_tail(read, Window(tail=2, until=1.0), LineFilter()) == TailStart(None, 1)
    assert asked == [None]
