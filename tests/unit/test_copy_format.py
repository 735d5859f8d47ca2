"""Rows in the formats of COPY: what is sent, in which pieces, and what is not sent at all."""

import struct

import pytest

from owctl.migrate.load.copying import BinaryStream, TextStream, Unfit

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)


def binary(kinds: list[str], *rows: tuple) -> bytes:
    pieces: list[bytes] = []
    stream = BinaryStream(pieces.append, kinds)
    for row in rows:
        stream.row(row)
    stream.end()
    sent = b"".join(pieces)
    assert stream.sent_bytes == len(sent)
    assert sent.startswith(HEADER)
    assert sent.endswith(b"\xff\xff")
    return sent[len(HEADER) : -2]


def text(*rows: tuple) -> bytes:
    pieces: list[bytes] = []
    stream = TextStream(pieces.append)
    for row in rows:
        stream.row(row)
    stream.end()
    sent = b"".join(pieces)
    assert stream.sent_bytes == len(sent)
    return sent


def test_text():
    row = (b"a\tb\\c\nd\re", None, True, False, 42, b"", "é".encode())
    assert text(row, (b"x",)) == b"a\\tb\\\\c\\nd\\re\t\\N\tt\tf\t42\t\t\xc3\xa9\nx\n"


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("text", b"abc", b"\0\0\0\x03abc"),
        ("character varying", b"", b"\0\0\0\0"),
        ("json", b"{}", b"\0\0\0\x02{}"),
        ("jsonb", b"{}", b"\0\0\0\x03\x01{}"),
        ("bigint", -1, b"\0\0\0\x08" + b"\xff" * 8),
        ("integer", 258, b"\0\0\0\x04\0\0\x01\x02"),
        ("smallint", 1, b"\0\0\0\x02\0\x01"),
        ("boolean", True, b"\0\0\0\x01\x01"),
        ("boolean", False, b"\0\0\0\x01\0"),
        ("date", b"2000-01-02", b"\0\0\0\x04\0\0\0\x01"),
        ("date", b"1999-12-31", b"\0\0\0\x04\xff\xff\xff\xff"),
        ("timestamp without time zone", b"2000-01-01 00:00:01", b"\0\0\0\x08" + struct.pack(">q", 10**6)),
        ("timestamp without time zone", b"1999-12-31 23:59:59.999999", b"\0\0\0\x08" + b"\xff" * 8),
        ("text", None, b"\xff\xff\xff\xff"),
        ("bigint", None, b"\xff\xff\xff\xff"),
    ],
)  # fmt: skip
def test_binary(kind, value, expected):
    assert binary([kind], (value,)) == b"\0\x01" + expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", 5),
        ("jsonb", True),
        ("bigint", 2**63),
        ("bigint", True),
        ("bigint", b"5"),
        ("smallint", 2**15),
        ("boolean", 1),
        ("boolean", b"t"),
        ("date", b"yesterday"),
        ("date", 5),
        ("timestamp without time zone", b"2000-01-01 00:00:00+02:00"),
        ("timestamp without time zone", b"\xff"),
    ],
)
def test_what_does_not_fit_its_column_is_not_sent(kind, value):
    with pytest.raises(Unfit):
        binary([kind], (value,))


@pytest.mark.parametrize("form", ["text", "binary"])
def test_a_large_value_is_sent_in_pieces(form):
    pieces: list[bytes] = []
    stream = (
        TextStream(pieces.append) if form == "text" else BinaryStream(pieces.append, ["text"] * 2)
    )
    large = bytes(range(1, 128)) * 50_000
    stream.row((large, b"end"))
    stream.end()
    assert len(pieces) > 10
    assert max(map(len, pieces)) < 2_000_000
    sent = b"".join(pieces)
    if form == "binary":
        assert large in sent
    else:
        written = large.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
        assert sent == written.replace(b"\r", b"\\r").replace(b"\t", b"\\t") + b"\tend\n"


def test_other_types_are_left_to_the_text_format():
    assert BinaryStream.takes(["text", "jsonb", "date"])
    assert not BinaryStream.takes(["text", "USER-DEFINED"])
    assert not BinaryStream.takes(["timestamp with time zone"])
