"""Frames of a log → whole lines, wherever the connection happens to cut them."""

import pytest

from owctl.engine.frames import FrameSplitter
from owctl.engine.log_lines import (
    MAX_LINE_BYTES,
    LineAssembler,
    TerminalLines,
    entries_of,
    line_of,
    ns_stamp,
    stamp_ns,
)

STAMP = b"2026-01-31T12:34:56.123456789Z"
LATER = b"2026-01-31T12:34:57.000000001Z"


def frame(payload: bytes, stream: int = 1) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


LOG = (
    frame(STAMP + b" first\n")
    + frame(LATER + b" on stderr\n", 2)
    + frame(STAMP + b" begun ")
    + frame(LATER + b" between\n", 2)
    # A continuation carries a time of its own, which is none of the line's text.
    + frame(LATER + b" and ended\n")
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


def test_an_endless_line_is_cut():
    assembler = LineAssembler()
    frames = []
    for _ in range(MAX_LINE_BYTES // 16384 + 2):
        frames += assembler.feed([frame(STAMP + b" " + b"x" * 16384)])
    assert frames
    assert len(frames[0]) < MAX_LINE_BYTES + 32768


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
