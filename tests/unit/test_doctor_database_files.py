"""Reading PostgreSQL's users from its file: only rows that are in force count."""

import struct

from owctl.postgres.files import file_node, verifiers, was_shut_down

OLD, NEW, OTHER = (f"SCRAM-SHA-256$4096:{c * 22}==${c * 43}=:{c * 43}=" for c in "ABC")
COMMITTED, ABORTED, FROZEN = 0x0100, 0x0200, 0x0300
DELETED, LOCK_ONLY, NOT_DELETED = 0x0400, 0x0080, 0x0800


def row(name: str, secret: str, *, deleter: int = 0, mask: int = COMMITTED | NOT_DELETED) -> bytes:
    head = struct.pack("<III6xHHB", 700, deleter, 0, 12, mask, 24) + b"\0"
    data = struct.pack("<I64s7B1xi", 10, name.encode(), *[1] * 7, -1)
    return head + data + bytes([0x80 | 3]) + secret.encode()


def page(*rows: bytes, layout: int = 8192 | 4, flags: int = 1) -> bytes:
    """A heap page, filled from its end as PostgreSQL does."""
    items, body, end = b"", b"", 8192
    for data in rows:
        padded = data + b"\0" * (-len(data) % 8)
        end -= len(padded)
        body = padded + body
        items += struct.pack("<I", end | flags << 15 | len(data) << 17)
    header = struct.pack("<8xHHHHHHI", 0, 0, 24 + len(items), end, 8192, layout, 0)
    return header + items + b"\0" * (end - len(header) - len(items)) + body


def test_users_and_what_stands_for_their_passwords():
    table = page(row("web", NEW), row("pg_monitor", "")) + page(row("other", "md5" + "0" * 32))
    assert verifiers(table) == {"web": NEW, "other": "md5" + "0" * 32}


def test_a_password_that_was_replaced_is_gone():
    changed = page(
        row("web", NEW),
        row("web", OLD, deleter=705, mask=COMMITTED | DELETED),
        row("web", OLD, deleter=706, mask=COMMITTED),
    )
    assert verifiers(changed) == {"web": NEW}


def test_a_row_that_never_came_to_be_does_not_count():
    assert verifiers(page(row("web", OLD), row("web", NEW, mask=ABORTED | NOT_DELETED))) == {
        "web": OLD
    }


def test_frozen_and_locked_rows_count():
    table = page(
        row("web", NEW, mask=FROZEN | NOT_DELETED),
        row("other", OTHER, deleter=9, mask=COMMITTED | LOCK_ONLY),
    )
    assert verifiers(table) == {"web": NEW, "other": OTHER}


def test_nothing_is_claimed_of_another_layout_or_of_rubbish():
    assert verifiers(page(row("web", NEW), layout=8192 | 3)) == {}
    assert verifiers(page(row("web", NEW), flags=0)) == {}
    assert verifiers(page(row("web", NEW))[:8000]) == {}
    assert verifiers(b"\xff" * 8192) == {}
    assert verifiers(b"") == {}


def test_the_users_file_is_found_by_the_map():
    pairs = struct.pack("<IIIIII", 1262, 1262, 1260, 16402, 1261, 1261)
    assert file_node(struct.pack("<ii", 0x592717, 3) + pairs + b"\0" * 400) == 16402
    assert file_node(struct.pack("<ii", 0x592717, 900) + pairs) == 1260
    assert file_node(struct.pack("<ii", 1, 3) + pairs) == 1260
    assert file_node(b"") == 1260


def test_the_state_of_the_server():
    head = struct.pack("<QII", 7, 1300, 202209061)
    assert was_shut_down(head + struct.pack("<I", 1))
    assert not was_shut_down(head + struct.pack("<I", 6))
    assert not was_shut_down(head)
