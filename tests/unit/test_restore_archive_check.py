"""Archives that would do harm are refused by name; ordinary ones are not."""

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from owctl.backup.manifest import Member
from owctl.backup.member_file import MemberContent
from owctl.backup.verify import verify_member
from owctl.errors import BackupInvalid
from owctl.volumes.archive_check import ArchiveSummary, check_archive
from owctl.volumes.archive_edit import ArchiveEdit, digest_of
from owctl.volumes.tar import TarHeader, TarStream, encode

END = bytes(1024)
FOLDER = TarHeader("./", b"5", mode=0o755)
LONG = "n" * 200


def file(name: str, size: int = 0, **fields) -> bytes:
    return encode(TarHeader(name, b"0", size, **fields)) + bytes(size + -size % 512)


def tar(*entries: TarHeader | bytes) -> bytes:
    raw = (each if isinstance(each, bytes) else encode(each) for each in (FOLDER, *entries))
    return b"".join(raw) + END


def link(name: str, target: str, kind: bytes = b"2") -> TarHeader:
    return TarHeader(name, kind, link=target)


def folder(name: str) -> TarHeader:
    return TarHeader(name, b"5")


@pytest.mark.parametrize(
    ("entries", "name", "complaint"),
    [
        ([file("../evil")], "'../evil'", "leads out of the volume"),
        ([folder("a"), file("a/../../evil")], "'a/../../evil'", "leads out"),
        ([file("/etc/passwd")], "'/etc/passwd'", "leads out"),
        ([folder("..")], r"'\.\.'", "leads out"),
        ([file("." * 2 + "/" + LONG * 2)], "'../nnn", "leads out"),
        ([link("h", "/etc/shadow", b"1")], "'h'", "hard link that leads out"),
        ([link("h", "../../etc/shadow", b"1")], "'h'", "hard link that leads out"),
        ([link("h", ".", b"1")], "'h'", "hard link to a folder"),
        ([link("h", "", b"1")], "'h'", "hard link to a folder"),
        ([folder("a"), link("h", "a", b"1")], "'h'", "hard link to a folder"),
        ([link("s", "/etc"), file("s/passwd")], "'s/passwd'", "through a symbolic link"),
        ([folder("a"), link("a/s", "/"), file("a/s/etc/passwd")], "'a/s/etc/", "through a symb"),
        ([link("s", "/etc"), link("h", "s/shadow", b"1")], "'h'", "through a symbolic link"),
        ([link("s", "/etc"), folder("s")], "'s'", "comes twice"),
        ([folder("s"), link("s", "/etc"), file("s/passwd")], "'s'", "comes twice"),
        ([folder("s"), file("s")], "'s'", "comes twice"),
        ([link("s", "/etc"), link("s", "/")], "'s'", "comes twice"),
        ([link("s", "")], "'s'", "to nowhere"),
        ([file("no/such/folder")], "'no/such/folder'", "folder that the archive does not have"),
        ([TarHeader("null", b"3"), file("null")], "'null'", "comes twice"),
        ([link("s", "/dev"), TarHeader("s/null", b"3")], "'s/null'", "through a symbolic link"),
        ([TarHeader("what", b"Z")], "'what'", "of the unknown kind"),
        ([TarHeader("holes", b"S")], "'holes'", "a sparse file"),
        ([file(".")], r"'\.'", "no name"),
        ([file("n" * 256)], "'nnn", "too long"),
        ([file("a/" * 2050 + "b")], "'a/a/", "too long"),
    ],
)
def test_hostile_entries(entries: list, name: str, complaint: str):
    with pytest.raises(BackupInvalid, match=f"(?s)entry {name}.*{complaint}") as caught:
        check_archive([tar(*entries)])
    assert caught.value.exit_code == 7
    assert len(caught.value.message) < 400


def test_ordinary_archives():
    entries = [
        folder("./a"),
        folder("a/b"),
        file("./a/b/f", 700),
        link("a/link", "/app/data/uploads"),
        link("up", "../../../outside"),
        link("a/hard", "./a/b/f", b"1"),
        TarHeader("pipe", b"6"),
        file("-rf"),
        file("a\nb"),
        file("caf\udce9"),
        file(f"a/{LONG}", 3),
        file("..."),
    ]
    assert check_archive([tar(*entries)]) == ArchiveSummary(13, 703)


def test_what_no_restore_makes_is_left_out_and_named():
    far = f"{'d' * 250}/" * 15
    entries = [
        file("before"),
        TarHeader("null", b"3"),
        TarHeader("disk\n\udcff", b"4"),
        link("zz", "./null", b"1"),
        *(folder(far[: 251 * depth]) for depth in range(1, 16)),
        file(far + "f" * 200, 7),
        file("behind", 3),
    ]
    found = check_archive([tar(*entries)])
    named = [(loss.path, loss.what) for loss in found.losses]
    assert named[:3] == [
        ("null", "a character device"),
        (r"disk\n\xff", "a block device"),
        ("zz", "a hard link to 'null'"),
    ]
    assert [(path[:3], what) for path, what in named[3:]] == [("ddd", "a path of 3965 bytes")]
    edit = ArchiveEdit([tar(*entries)], "volume", {})
    unpacked = [header.name for header in TarStream(edit)]
    assert unpacked[:2] == ["volume", "volume/before"]
    assert unpacked[-1] == "volume/behind"
    assert len(unpacked) == 18


def test_what_was_hidden_is_left_out_but_for_the_folder_it_is_mounted_on(tmp_path: Path):
    entries = [
        folder("up"),
        file("up/f", 5),
        folder("up-to"),
        file("up-to/f"),
        file("key"),
        link("zz", "up/f", b"1"),
    ]
    with MemberContent(tmp_path, member(tmp_path, b"a copy of a database")) as copy:
        edit = ArchiveEdit([tar(*entries)], "v", {"up/f": copy}, ("up", "key"))
        names = [header.name for header in TarStream(edit)]
    assert names == ["v", "v/up", "v/up-to", "v/up-to/f"]
    assert [(loss.path, loss.what) for loss in edit.losses] == [("zz", "a hard link to 'up/f'")]


def test_sparse_files_of_pax():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("huge")
        info.pax_headers = {"GNU.sparse.realsize": str(1 << 50), "GNU.sparse.major": "1"}
        archive.addfile(info)
    with pytest.raises(BackupInvalid, match="'huge' is a sparse file"):
        check_archive([buffer.getvalue()])


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        ({"size": "1e9"}, "not a number"),
        ({"size": "-5"}, "not a number"),
        ({"size": "9" * 30}, "not a number"),
        ({"mtime": "soon"}, "a time is not a number"),
        ({"uid": "-1"}, "not a number"),
    ],
)
def test_numbers_that_are_none(records: dict[str, str], complaint: str):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("file")
        info.pax_headers = records
        archive.addfile(info)
    with pytest.raises(BackupInvalid, match=complaint):
        check_archive([buffer.getvalue()])


def test_absurd_headers():
    extension = encode(TarHeader("x", b"x"))
    with pytest.raises(BackupInvalid, match="absurd headers"):
        check_archive([extension * 100_000 + tar()])
    with pytest.raises(BackupInvalid, match="extended header of 1000000000 B"):
        check_archive([encode(TarHeader("x", b"x", 1_000_000_000)) + tar()])


@pytest.mark.parametrize("size", [1, 100, 511, 512, 513, 1024, 10_000])
def test_cut_off_anywhere(size: int):
    whole = tar(folder("a"), file("a/f", 5000), file("a/g" + LONG))
    if size < len(whole):
        with pytest.raises(BackupInvalid, match="cut off"):
            check_archive([whole[:-size]])
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    assert check_archive(pieces) == ArchiveSummary(4, 5000)


def test_damage():
    whole = tar(file("f", 10))
    with pytest.raises(BackupInvalid, match="checksum"):
        check_archive([whole[:600] + b"\1" + whole[601:]])
    with pytest.raises(BackupInvalid, match="data behind"):
        check_archive([whole, bytes(5000), b"x"])
    with pytest.raises(BackupInvalid, match="empty header"):
        check_archive([whole[:512] + bytes(512) + whole[512:]])
    assert check_archive([whole, bytes(9000)]).entries == 2


def test_what_is_written_is_what_was_read():
    headers = [
        TarHeader("plain", b"0", 0, 0o644, 1, 2, "1700000000"),
        TarHeader("ü" * 80 + "\udcff\n", b"0", 0, 0o4755, 3_000_000, 4_000_000, "1.5"),
        TarHeader("old", b"0", 0, 0o600, 0, 0, "-315619200"),
        TarHeader("older", b"0", 0, 0o600, 0, 0, "-1.25"),
        TarHeader("future", b"5", 0, 0o2770, 0, 0, "99999999999"),
        TarHeader("l", b"2", link="x/" * 100),
        TarHeader("c", b"0", extended={"SCHILY.xattr.security.capability": "\1\0\0\2\udcff"}),
        TarHeader("name-of-exactly-" + "n" * 84, b"0"),
    ]
    data = b"".join(encode(header) for header in headers) + END
    assert list(TarStream([data])) == headers
    assert [header.modified_second for header in headers[1:5]] == [1, -315619200, -2, 99999999999]
    # Others read the same.
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == [header.name for header in headers]
        assert archive.getmember("older").mtime == -1.25


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_what_others_write_is_read(form: int):
    buffer = io.BytesIO()
    long = f"{LONG[:90]}/{LONG[:90]}"
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        info = tarfile.TarInfo(long)
        info.size, info.uid, info.mode, info.mtime = 700, 12, 0o640, 1_700_000_000
        archive.addfile(info, io.BytesIO(bytes(700)))
        info = tarfile.TarInfo("link")
        info.type, info.linkname = (
            tarfile.SYMTYPE,
            "t" * (100 if form == tarfile.USTAR_FORMAT else 150),
        )
        archive.addfile(info)
    first, second = TarStream([buffer.getvalue()])
    assert (first.name, first.size_bytes, first.user_id) == (long, 700, 12)
    assert (first.mode, first.modified_second) == (0o640, 1_700_000_000)
    assert second.link == info.linkname


def member(folder: Path, data: bytes, **detail: object) -> Member:
    (folder / "v.tar").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return Member("v.tar", "volume", len(data), digest, len(data), detail)


def test_a_member_is_what_the_manifest_says(tmp_path: Path):
    data = tar(file("f", 700))
    good = member(tmp_path, data, entries=2, files_bytes=700)
    verify_member(tmp_path, good)
    verify_member(tmp_path, member(tmp_path, data))
    with pytest.raises(BackupInvalid, match="unpacks to 2 entries with 700 bytes, the manifest"):
        verify_member(tmp_path, member(tmp_path, data, entries=2, files_bytes=10))
    (tmp_path / "v.tar").write_bytes(data[:700] + b"!" + data[701:])
    with pytest.raises(BackupInvalid, match=r"^v\.tar: .*SHA-256"):
        verify_member(tmp_path, good)
    # Damage to the headers is damage of the file first.
    (tmp_path / "v.tar").write_bytes(data[:100] + b"!" + data[101:])
    with pytest.raises(BackupInvalid, match="SHA-256"):
        verify_member(tmp_path, good)
    with pytest.raises(BackupInvalid, match=r"^v\.tar: the archive's entry '/f'"):
        verify_member(tmp_path, member(tmp_path, tar(file("/f"))))
    with pytest.raises(BackupInvalid, match=r"^v\.tar: The archive is"):
        verify_member(tmp_path, member(tmp_path, gzip.compress(data) * 10))


WHOLE = tar(folder("a"), file("a/f", 700), link("a/s", "f"), file("a/g" + LONG, 5))
BLOCKS = range(0, len(WHOLE), 512)


def is_header(start: int) -> bool:
    return WHOLE[start + 257 : start + 262] == b"ustar"


def is_sound(folder: Path, data: bytes) -> bool:
    """Whether verify calls it sound; a restore that unpacks it must say the same."""
    takers = [
        lambda: verify_member(folder, member(folder, data)),
        lambda: b"".join(ArchiveEdit([data], "volume", {})),
        lambda: digest_of([data], with_root=True),
    ]
    verdicts = set()
    for take in takers:
        try:
            take()
            verdicts.add(True)
        except BackupInvalid:
            verdicts.add(False)
    assert len(verdicts) == 1
    return verdicts.pop()


def test_verify_and_restore_agree_on_what_is_whole(tmp_path: Path):
    assert is_sound(tmp_path, WHOLE)
    assert is_sound(tmp_path, WHOLE + bytes(10240 - len(WHOLE) % 10240))
    assert [cut for cut in BLOCKS if is_sound(tmp_path, WHOLE[:cut])] == []


def test_verify_and_restore_agree_on_a_zero_block_within(tmp_path: Path):
    for start in filter(is_header, BLOCKS):
        assert not is_sound(tmp_path, WHOLE[:start] + bytes(512) + WHOLE[start:])
        assert not is_sound(tmp_path, WHOLE[:start] + bytes(1024) + WHOLE[start:])


@pytest.mark.parametrize("place", [0, 100, 124, 148, 156, 257, 345, 511])
def test_verify_and_restore_agree_on_a_damaged_header(tmp_path: Path, place: int):
    for start in filter(is_header, BLOCKS):
        data = bytearray(WHOLE)
        data[start + place] ^= 1
        assert not is_sound(tmp_path, bytes(data))
