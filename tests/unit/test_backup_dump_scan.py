"""The dump scanner, on dumps built by the format's own description."""

import pytest

from owctl.errors import BackupInvalid
from owctl.postgres.dump_scan import DumpScanner

# What pg_dump writes behind the rows of a table.
ROWS_END = b"\\.\n\n\n"


def integer(value: int) -> bytes:
    return bytes([value < 0]) + abs(value).to_bytes(4, "little")


def text(value: str | None) -> bytes:
    return integer(-1) if value is None else integer(len(value.encode())) + value.encode()


def head(
    entries: list[tuple[int, str, str, bool]], version: tuple[int, int] = (1, 14), compression=0
) -> bytes:
    data = b"PGDMP" + bytes([*version, 0, 4, 8, 1])
    data += bytes([compression]) if version >= (1, 15) else integer(compression)
    data += b"".join(integer(number) for number in (1, 2, 3, 4, 5, 6, 0))
    data += text("open_webui") + text("16.1") + text("16.1") + integer(len(entries))
    for dump_id, kind, name, has_data in entries:
        data += integer(dump_id) + integer(int(has_data)) + text("0") + text("0")
        data += text(name) + text(kind) + integer(3) + text("") + text("") + text("COPY …")
        data += text("public") + text("") + text("")
        data += integer(0) if version >= (1, 16) else b""
        data += text("owner") + text("false") + text("12") + text(None)
        data += bytes([1 if has_data else 3]) + bytes(8)
    return data


def block(dump_id: int, *chunks: bytes, kind: int = 1) -> bytes:
    body = b"".join(integer(len(chunk)) + chunk for chunk in chunks)
    return bytes([kind]) + integer(dump_id) + body + integer(0)


ENTRIES = [(5, "TABLE", "chat", False), (6, "TABLE DATA", "chat", True)]
ENTRIES += [(7, "TABLE DATA", "user", True), (8, "BLOBS", "BLOBS", True)]


def dump(version: tuple[int, int] = (1, 14), *, empty: bool = False) -> bytes:
    chats = [] if empty else [b"1\ta\\nb\n", b"2\tc\n"]
    users = b"" if empty else b"x\n" * 9
    objects = b"".join(integer(oid) + integer(4) + b"data" + integer(0) for oid in (16400, 16401))
    return (
        head(ENTRIES, version)
        + block(6, *chats, ROWS_END)
        + block(7, users + ROWS_END)
        + bytes([3])
        + integer(8)
        + objects
        + integer(0)
    )


def scan(data: bytes, step: int = 1 << 20) -> DumpScanner:
    scanner = DumpScanner()
    for start in range(0, len(data), step):
        scanner.feed(data[start : start + step])
    scanner.finish()
    return scanner


@pytest.mark.parametrize("version", [(1, 12), (1, 13), (1, 14), (1, 15), (1, 16)])
@pytest.mark.parametrize("step", [1, 3, 64, 1 << 20])
def test_counts_rows(version: tuple[int, int], step: int) -> None:
    if version < (1, 14):
        # Before 1.14 there was no table access method; such a head is read to its end, too.
        data = head([], version)
        assert scan(data, step).contents.format_version == version
        return
    contents = scan(dump(version), step).contents
    assert contents.rows == {"public.chat": 2, "public.user": 9}
    assert contents.database == "open_webui"
    assert contents.server_version == "16.1"


def test_the_head_is_kept_for_a_listing() -> None:
    assert scan(dump(), 11).head == head(ENTRIES)


def test_every_cut_is_noticed() -> None:
    data = dump()
    for cut in range(len(data)):
        with pytest.raises(BackupInvalid):
            scan(data[:cut])


def test_a_block_too_many_is_noticed() -> None:
    with pytest.raises(BackupInvalid, match="not expected"):
        scan(dump() + block(6, ROWS_END))


def test_rows_without_their_end_are_noticed() -> None:
    data = head(ENTRIES[1:2]) + block(6, b"1\n")
    with pytest.raises(BackupInvalid, match="no end"):
        scan(data)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"-- PostgreSQL database dump", "does not begin"),
        (head([], (1, 17)), r"1\.17"),
        (head([], compression=6), "uncompressed"),
        (head([], (1, 15), compression=1), "uncompressed"),
    ],
)
def test_other_formats_are_refused(data: bytes, match: str) -> None:
    with pytest.raises(BackupInvalid, match=match):
        scan(data)
