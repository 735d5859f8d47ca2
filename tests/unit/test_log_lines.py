"""Frames of a log → whole lines, wherever the connection happens to cut them."""

import pytest

from owctl.engine.logs import (
    HELD_BYTES,
    MAX_LINE_BYTES,
    PART_BYTES,
    LineAssembler,
    TerminalLines,
    entries_of,
    line_of,
    ns_stamp,
    stamp_ns,
)
from owctl.engine.wire import FrameSplitter
from owctl.environment.masking import Mask

STAMP = b"2026-01-31T12:34:56.123456789Z"
LATER = b"2026-01-31T12:34:57.000000001Z"
EVEN_LATER = b"2026-01-31T12:34:58.000000001Z"


def frame(payload: bytes, stream: int = 1) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


LOG = (
    frame(STAMP + b" first\n")
    + frame(LATER + b" on stderr\n", 2)
    + frame(STAMP + b" begun ")
    + frame(LATER + b" between\n", 2)
    # A continuation carries the time again, which is none of the line's text.
    + frame(STAMP + b" and ended\n")
    + frame(STAMP + b" \n")
    + frame(LATER + b" without newline", 2)
)
LINES = [
    (STAMP, "stdout", b"first\n"),
    (LATER, "stderr", b"on stderr\n"),
    (LATER, "stderr", b"between\n"),
    (STAMP, "stdout", b"begun and ended\n"),
    (STAMP, "stdout", b"\n"),
    (LATER, "stderr", b"without newline\n"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 31, 39, 64, len(LOG)])
def test_lines_are_the_same_however_the_stream_is_cut(size: int):
    assembler = LineAssembler()
    frames = []
    for start in range(0, len(LOG), size):
        frames += assembler.feed([LOG[start : start + size]])
    frames += assembler.finish()
    assert entries_of(frames) == LINES


def test_whole_frames_pass_untouched():
    pieces = [frame(STAMP + b" %d\n" % number) for number in range(5)]
    assert LineAssembler().feed(pieces) == pieces


def test_a_frame_within_a_message_is_text():
    # The message looks like a frame header; only the real header counts.
    payload = STAMP + b" \x02\0\0\0\0\0\0\x01x\n"
    assert entries_of(LineAssembler().feed([frame(payload)]))[0][2] == payload[31:]


def test_parts_of_a_line_from_engines_that_give_each_a_time():
    part = b"x" * PART_BYTES
    frames = LineAssembler().feed([frame(STAMP + b" " + part), frame(LATER + b" end\n")])
    assert entries_of(frames) == [(STAMP, "stdout", part + b"end\n")]
    # Podman's parts are of any size; its times have a zone.
    zoned = STAMP[:-1] + b"+00:00"
    frames = LineAssembler().feed([frame(zoned + b" be"), frame(LATER[:-1] + b"+00:00 gun\n")])
    assert entries_of(frames) == [(STAMP, "stdout", b"begun\n")]


def test_what_comes_after_a_run_that_ended_without_newline_is_a_line_of_its_own():
    frames = LineAssembler().feed([frame(STAMP + b" killed in"), frame(LATER + b" line 1\n")])
    assert entries_of(frames) == [
        (STAMP, "stdout", b"killed in\n"),
        (LATER, "stdout", b"line 1\n"),
    ]


def endless(size_bytes: int) -> bytes:
    """A line with many numbers, in which a cut at any place can be seen."""
    return b"".join(b"%08d," % number for number in range(size_bytes // 9))


@pytest.mark.parametrize("tty", [False, True])
def test_an_endless_line_becomes_several_without_loss(tty: bool):
    text = endless(3 * MAX_LINE_BYTES) + "é".encode() * MAX_LINE_BYTES
    parts = [text[start : start + PART_BYTES] for start in range(0, len(text), PART_BYTES)]
    lines = TerminalLines() if tty else LineAssembler()
    frames = []
    for part in parts:
        stamped = STAMP + b" " + part
        frames += lines.feed([stamped if tty else frame(stamped)])
    frames += lines.finish()
    entries = entries_of(frames)
    assert len(entries) > 4
    assert max(len(entry[2]) for entry in entries) <= MAX_LINE_BYTES + PART_BYTES + 1
    assert b"".join(entry[2][:-1] for entry in entries) == text
    assert {entry[0] for entry in entries} == {STAMP}
    for entry in entries:
        entry[2].decode()  # no character is cut in two


@pytest.mark.parametrize("offset", [0, 7, 12, 4000, PART_BYTES - 5])
@pytest.mark.parametrize("tty", [False, True])
def test_a_secret_at_the_cut_of_an_endless_line_is_hidden(offset: int, tty: bool):
    mask = Mask(["s3cret-p4ssword"]).mask_bytes
    for cut_at in (MAX_LINE_BYTES, MAX_LINE_BYTES - HELD_BYTES):
        before = b"x" * (cut_at - offset)
        text = before + b"s3cret-p4ssword" + b"y" * MAX_LINE_BYTES
        parts = [text[start : start + PART_BYTES] for start in range(0, len(text), PART_BYTES)]
        lines = TerminalLines(mask) if tty else LineAssembler(mask)
        frames = []
        for part in parts:
            stamped = STAMP + b" " + part
            frames += lines.feed([stamped if tty else frame(stamped)])
        frames += lines.finish()
        shown = b"".join(mask(entry[2])[:-1] for entry in entries_of(frames))
        assert shown == before + b"***" + b"y" * MAX_LINE_BYTES


def test_the_entries_of_the_engine_are_counted():
    assembler = LineAssembler()
    assembler.feed([LOG])
    assembler.finish()
    assert assembler.entries == 7
    lines = TerminalLines()
    lines.feed([STAMP + b" one\r\n" + STAMP + b" " + b"x" * PART_BYTES + STAMP + b" end\r\n"])
    assert lines.entries == 3


def test_a_cut_frame_is_an_error():
    assembler = LineAssembler()
    assembler.feed([frame(STAMP + b" text\n")[:-3]])
    with pytest.raises(ValueError, match="cut off"):
        assembler.finish()


def test_what_is_no_frame_is_an_error():
    with pytest.raises(ValueError, match="not a stream"):
        LineAssembler().feed([b"HTTP/1.1 200 OK\r\n"])


def test_a_container_with_a_terminal_has_no_frames():
    lines = TerminalLines()
    text = STAMP + b" one\r\n" + LATER + b" two\r\n" + LATER + b" rest"
    frames = [
        frame for start in range(len(text)) for frame in lines.feed([text[start : start + 1]])
    ]
    frames += lines.finish()
    assert entries_of(frames) == [
        (STAMP, "stdout", b"one\n"),
        (LATER, "stdout", b"two\n"),
        (LATER, "stdout", b"rest\n"),
    ]


def test_long_lines_of_a_terminal_are_whole():
    part = b"x" * PART_BYTES
    text = b"".join(STAMP + b" " + piece for piece in (part, part, b"end\r\n"))
    assert entries_of(TerminalLines().feed([text])) == [(STAMP, "stdout", part * 2 + b"end\n")]


def test_runs_of_a_terminal_that_ended_without_newline():
    text = LATER + b" at " + STAMP + b" # " + EVEN_LATER + b" line 1\r\n"
    assert entries_of(TerminalLines().feed([text])) == [
        # A time that the program wrote is earlier than the engine's, and text.
        (LATER, "stdout", b"at " + STAMP + b" # \n"),
        (EVEN_LATER, "stdout", b"line 1\n"),
    ]


@pytest.mark.parametrize(
    "written",
    [
        b"2026-01-31T13:34:56.123456789+01:00",
        b"2026-01-31T12:34:56.123456789+00:00",
    ],
)
def test_times_of_other_zones_become_utc(written: bytes):
    assert entries_of([frame(written + b" text\n")]) == [(STAMP, "stdout", b"text\n")]


def test_fewer_digits_are_filled_up():
    [(stamp, _, text)] = entries_of([frame(b"2026-01-31T12:34:56.5Z text\n")])
    assert (stamp, text) == (b"2026-01-31T12:34:56.500000000Z", b"text\n")


def test_a_line_without_time_is_an_error():
    with pytest.raises(ValueError, match="no time"):
        entries_of([frame(b"hello world, this is a line without any time\n")])


def test_a_line_as_text():
    line = line_of((STAMP, "stderr", b"caf\xc3\xa9 \xff\n"))
    assert (line.stream, line.message) == ("stderr", "café �")
    assert line.time_ns == 1769862896123456789


def test_stamps_are_exact_to_the_nanosecond():
    assert ns_stamp(stamp_ns(STAMP.decode())) == STAMP.decode()
    assert stamp_ns("1970-01-01T00:00:01Z") == 10**9


def test_pieces_of_a_stream_keep_their_origin():
    data = frame(b"out") + frame(b"err", 2) + frame(b"") + frame(b"more")
    for size in range(1, len(data)):
        splitter = FrameSplitter()
        got = {"stdout": b"", "stderr": b""}
        for start in range(0, len(data), size):
            for stream, piece in splitter.feed(data[start : start + size]):
                got[stream] += piece
        assert got == {"stdout": b"outmore", "stderr": b"err"}
        assert splitter.complete


def test_an_incomplete_stream_is_known():
    splitter = FrameSplitter()
    splitter.feed(frame(b"text")[:-1])
    assert not splitter.complete
    assert not FrameSplitter().feed(b"\x01\0\0")
