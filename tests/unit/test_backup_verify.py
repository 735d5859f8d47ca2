"""Reading back: a sound member passes, any change of a stored file does not."""

import hashlib
import io
import random
import sqlite3
import tarfile
from pathlib import Path

import pytest
import zstandard
from test_backup_dump_scan import dump

from owctl.backup.manifest import Kind, Member
from owctl.backup.member_file import MemberFile, Stored
from owctl.backup.verify import verify_member
from owctl.errors import BackupInvalid, Interrupted


def tar_of(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("./file")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def store(folder: Path, name: str, content: bytes) -> Stored:
    with MemberFile(folder, name, compressed=name.endswith(".zst")) as file:
        for start in range(0, len(content), 30_000):
            file.write(content[start : start + 30_000])
        return file.finish()


def described(stored: Stored, kind: Kind, **detail: object) -> Member:
    return Member(
        name=stored.name,
        kind=kind,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        content_size_bytes=stored.content_size_bytes,
        detail=detail,
    )


def sqlite_bytes(tmp_path: Path) -> bytes:
    connection = sqlite3.connect(tmp_path / "x.db")
    connection.execute("CREATE TABLE t (a)")
    connection.commit()
    connection.close()
    return (tmp_path / "x.db").read_bytes()


def test_what_was_stored_is_what_is_there(tmp_path: Path) -> None:
    content = random.Random(1).randbytes(200_000) * 3
    stored = store(tmp_path, "a.zst", content)
    raw = (tmp_path / "a.zst").read_bytes()
    assert zstandard.ZstdDecompressor().decompressobj().decompress(raw) == content
    assert (stored.size_bytes, stored.sha256) == (len(raw), hashlib.sha256(raw).hexdigest())
    assert stored.content_size_bytes == len(content)
    assert stored.size_bytes < len(content) / 2


def test_sound_members_pass(tmp_path: Path) -> None:
    rows = {"public.chat": 2, "public.user": 9}
    for member in (
        described(store(tmp_path, "d.zst", dump()), "database", rows=rows),
        described(store(tmp_path, "v.tar.zst", tar_of(b"x" * 3_000_000)), "volume"),
        described(store(tmp_path, "s.zst", sqlite_bytes(tmp_path)), "sqlite"),
        described(store(tmp_path, ".env", b"A=1\n"), "configuration"),
        described(store(tmp_path, "empty", b""), "configuration"),
    ):
        verify_member(tmp_path, member)


@pytest.mark.parametrize("kind", ["database", "volume"])
def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path: Path, kind: Kind) -> None:
    content = dump() if kind == "database" else tar_of(random.Random(2).randbytes(3000))
    member = described(store(tmp_path, "m.zst", content), kind)
    path = tmp_path / "m.zst"
    whole = path.read_bytes()
    dice = random.Random(3)
    for _ in range(150):
        changed = bytearray(whole)
        changed[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(BackupInvalid):
            verify_member(tmp_path, member)
    for cut in (0, 1, len(whole) // 2, len(whole) - 4, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(BackupInvalid, match="bytes"):
            verify_member(tmp_path, member)
    path.write_bytes(whole)
    verify_member(tmp_path, member)


def test_rows_that_are_missing_in_the_dump_are_noticed(tmp_path: Path) -> None:
    stored = store(tmp_path, "d.zst", dump())
    for rows in ({"public.chat": 3}, {"public.chat": 2, "public.other": 0}):
        with pytest.raises(BackupInvalid, match="rows"):
            verify_member(tmp_path, described(stored, "database", rows=rows))


def test_content_that_is_not_of_its_kind_is_noticed(tmp_path: Path) -> None:
    stored = store(tmp_path, "x.zst", b"something else" * 100)
    for kind in ("database", "volume", "sqlite"):
        with pytest.raises(BackupInvalid, match=r"^x\.zst: "):
            verify_member(tmp_path, described(stored, kind))


def test_an_archive_that_was_cut_off_before_it_was_stored_is_noticed(tmp_path: Path) -> None:
    stored = store(tmp_path, "x.zst", tar_of(b"x" * 3000)[:2048])
    with pytest.raises(BackupInvalid, match="cut off"):
        verify_member(tmp_path, described(stored, "volume"))


def test_a_missing_member_is_noticed(tmp_path: Path) -> None:
    member = described(store(tmp_path, "x.zst", dump()), "database")
    (tmp_path / "x.zst").unlink()
    with pytest.raises(BackupInvalid, match="missing"):
        verify_member(tmp_path, member)


def test_it_can_be_interrupted(tmp_path: Path) -> None:
    member = described(store(tmp_path, "x.zst", dump()), "database")
    with pytest.raises(Interrupted):
        verify_member(tmp_path, member, cancelled=lambda: True)


def test_a_gigabyte_of_zeros_is_read_in_pieces(tmp_path: Path) -> None:
    import tracemalloc

    entry = tarfile.TarInfo("./zeros")
    entry.size = 256 << 20
    with MemberFile(tmp_path, "z.zst") as file:
        file.write(entry.tobuf())
        for _ in range(256):
            file.write(bytes(1 << 20))
        file.write(bytes(1024))
        stored = file.finish()
    tracemalloc.start()
    try:
        verify_member(tmp_path, described(stored, "volume"))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
