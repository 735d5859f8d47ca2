"""The tar reader: sees what tarfile writes, in pieces of any size, and notices damage."""

import io
import random
import tarfile

import pytest

from owctl.errors import BackupInvalid
from owctl.volumes.tar import TarHeader, TarStream

LONG = "uploads/" + "x" * 300 + "/ä file\n.txt"


def make_tar(form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, content in (
            ("./a", b"hello"),
            ("./empty", b""),
            ("./webui.db", b"SQLite format 3\0" + bytes(5000)),
            (LONG, b"x" * 1024),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        folder = tarfile.TarInfo("./folder/")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        link = tarfile.TarInfo("./link")
        link.type, link.linkname = tarfile.SYMTYPE, "y" * 200
        archive.addfile(link)
    return buffer.getvalue()


def scan(data: bytes, step: int = 1 << 20) -> list[tuple[TarHeader, bytes]]:
    """Return the entries, each with the first 16 bytes of its content."""
    stream = TarStream(data[start : start + step] for start in range(0, len(data), step))
    return [(header, stream.read(16)) for header in stream]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("step", [1, 7, 511, 512, 513, 4096, 1 << 20])
def test_sees_what_tarfile_wrote(form: int, step: int) -> None:
    entries = scan(make_tar(form), step)
    assert [(e.name.rstrip("/"), e.size_bytes, e.regular) for e, _ in entries] == [
        ("./a", 5, True),
        ("./empty", 0, True),
        ("./webui.db", 5016, True),
        (LONG, 1024, True),
        ("./folder", 0, False),
        ("./link", 0, False),
    ]
    assert [head for _, head in entries[:3]] == [b"hello", b"", b"SQLite format 3\0"]


def test_huge_file_of_base_256_size() -> None:
    entry = tarfile.TarInfo("big")
    entry.size = 9 * 1024**3
    header = entry.tobuf(tarfile.GNU_FORMAT)
    entries = iter(TarStream([header + bytes(512)]))
    assert next(entries).size_bytes == 9 * 1024**3
    with pytest.raises(BackupInvalid, match="cut off"):
        next(entries)


def test_every_cut_is_noticed() -> None:
    data = make_tar()
    # tarfile pads to 10 240 bytes; a tar ends with two empty blocks, what follows is padding.
    end = len(data.rstrip(b"\0"))
    needed = (end + 511) // 512 * 512 + 1024
    for cut in [*range(0, end, 97), needed - 1024, needed - 512, needed - 1]:
        with pytest.raises(BackupInvalid):
            scan(data[:cut])
    scan(data[:needed])


def test_damaged_header_is_noticed() -> None:
    data = bytearray(make_tar())
    data[3] ^= 1
    with pytest.raises(BackupInvalid, match="checksum"):
        scan(bytes(data))


def test_data_behind_the_end_is_noticed() -> None:
    with pytest.raises(BackupInvalid, match="behind"):
        scan(make_tar() + b"x" * 512)


def test_random_bytes_raise_nothing_else() -> None:
    dice = random.Random(4)
    data = make_tar()
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(3):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        try:
            scan(bytes(changed))
        except BackupInvalid:
            continue
