"""A dump in SQL text, as ``pg_dump`` writes it without ``-F``: made one transaction, or none."""

from collections.abc import Iterable, Iterator

from owctl.errors import BackupInvalid

COMMITTED = "owctl: committed"
_COMPLETE = b"-- PostgreSQL database dump complete"
_TAIL_BYTES = 4096


def in_one_transaction(content: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what psql is to read so that all of the dump counts, or nothing.

    psql prints ``COMMITTED`` once it has committed. Raises BackupInvalid for a dump that does not
    end as pg_dump ends one; then the commit was not sent.
    """
    yield b"BEGIN;\n"
    # psql would take the end of its input for the end of the dump, so the end is looked at first.
    tail = b""
    for piece in _without_restriction(content):
        tail += piece
        if len(tail) > _TAIL_BYTES:
            yield tail[:-_TAIL_BYTES]
            tail = tail[-_TAIL_BYTES:]
    if _COMPLETE not in tail:
        raise BackupInvalid(
            "the SQL dump is cut off: it does not end as pg_dump ends one.",
            hint="an older dump of this database",
        )
    lines = [line for line in tail.split(b"\n") if not line.startswith(b"\\unrestrict ")]
    yield b"\n".join(lines)
    yield f"\nCOMMIT;\n\\echo {COMMITTED}\n".encode()


def _without_restriction(content: Iterable[bytes]) -> Iterator[bytes]:
    """Leave out ``\\restrict``, which only a newer psql knows; it stands in the dump's head."""
    pieces = iter(content)
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= _TAIL_BYTES:
            break
    lines = head.split(b"\n")
    end = next((n for n, line in enumerate(lines) if not _is_preamble(line)), len(lines))
    lines[:end] = [line for line in lines[:end] if not line.startswith(b"\\restrict ")]
    yield b"\n".join(lines)
    yield from pieces


def _is_preamble(line: bytes) -> bool:
    return line == b"" or line.startswith((b"--", b"\\restrict "))
