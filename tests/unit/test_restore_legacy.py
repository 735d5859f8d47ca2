"""Files of docker-manage.sh: what is looked at before anything is touched."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest
from test_restore_sql_scan import BODY, HEAD, TABLE, TAIL

from owctl.backup.restore.legacy import LegacySource, Wanted, open_source
from owctl.errors import BackupInvalid, UsageError

SQL = "db_backup_20250131_031500.sql"
UPLOADS = "uploads_backup_20250131_031502.tar.gz"


def uploads(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        root = tarfile.TarInfo("./")
        root.type = tarfile.DIRTYPE
        archive.addfile(root)
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 700
            archive.addfile(info, io.BytesIO(bytes(700)))
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / SQL).write_bytes(HEAD + BODY + TAIL)
    (tmp_path / UPLOADS).write_bytes(uploads("./a", "./b"))
    return tmp_path


def verified(*paths: Path) -> LegacySource:
    source = LegacySource(paths)
    source.verify(lambda _: None)
    return source


def test_both_files_are_one_source(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "UTC")
    told: list[object] = []
    source = Wanted((UPLOADS, f"./{SQL}"), folder).find(folder / "backups", None)
    source.verify(told.append)
    assert [each.subject for each in told if each.state != "warning"] == [
        SQL, SQL, UPLOADS, UPLOADS
    ]  # fmt: skip
    assert source.id == f"{SQL} {UPLOADS}"
    assert source.paths == (folder / SQL, folder / UPLOADS)
    assert source.created_at.startswith("2025-01-3")
    assert source.database is not None
    assert source.database.form == "plain"
    assert source.database.rows == {"public.user": 4, 'public.Odd "T': 0}
    assert source.database.server_version_number == 150008
    (volume,) = source.volumes
    assert (volume.key, volume.files_bytes, volume.part) == ("rust_backend_data", 1400, "files")
    with source.database.open() as content:
        assert b"".join(content) == HEAD + BODY + TAIL
        content.finish()
    with volume.open() as content:
        assert sum(map(len, content)) == content.member.content_size_bytes
        content.finish()
    assert open_source(source.paths).id == source.id


def test_a_file_that_changes_after_it_was_read(folder: Path):
    source = verified(folder / SQL, folder / UPLOADS)
    (folder / SQL).write_bytes(HEAD + TABLE + TAIL)
    assert source.database is not None
    with source.database.open() as content, pytest.raises(BackupInvalid, match="was changed"):
        content.finish()


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "it is empty: pg_dump failed"),
        (HEAD + BODY, "cut off"),
        (HEAD + TABLE + b"\\connect x\n" + TAIL, "psql"),
        (os.urandom(5000), "cut off|psql"),
    ],
)
def test_dumps_that_are_refused(folder: Path, data: bytes, complaint: str):
    (folder / SQL).write_bytes(data)
    with pytest.raises(BackupInvalid, match=f"^{SQL}: (?s:.)*({complaint})"):
        verified(folder / SQL)


def test_archives_that_are_refused(folder: Path):
    good = (folder / UPLOADS).read_bytes()
    for data, complaint in (
        (uploads(), "it holds no files. docker-manage.sh archived a new, empty volume"),
        (good[:-9], "cut off: the compressed content has no end"),
        (good[: len(good) // 2], "cut off"),
        (good + b"more", "data behind the end"),
        (b"no gzip at all", "damaged"),
        (good[:40] + bytes([good[40] ^ 1]) + good[41:], "damaged|checksum|cut off|number"),
        (gzip.compress(b""), "cut off"),
        (gzip.compress(gzip.decompress(good)[:1024]), "cut off"),
        (uploads("../evil"), "'../evil' leads out"),
        (uploads("./a", "/etc/passwd"), "'/etc/passwd' leads out"),
    ):
        (folder / UPLOADS).write_bytes(data)
        with pytest.raises(BackupInvalid, match=complaint):
            verified(folder / UPLOADS)
    # The script's own, of an empty volume, byte by byte.
    (folder / UPLOADS).write_bytes(gzip.compress(gzip.decompress(uploads())) + bytes(30))
    with pytest.raises(BackupInvalid, match="holds no files"):
        verified(folder / UPLOADS)


def test_other_files(folder: Path):
    with pytest.raises(UsageError, match="takes one dump"):
        LegacySource([folder / SQL, folder / SQL])
    with pytest.raises(UsageError, match="takes one dump"):
        LegacySource([folder / SQL, folder / "notes.txt"])
    with pytest.raises(UsageError, match="There is no file"):
        LegacySource([folder / "gone.sql"])
    with pytest.raises(UsageError, match="takes one backup, and got 2"):
        open_source([folder, folder])
    with pytest.raises(UsageError, match="There is no backup"):
        Wanted(("latest",), folder).find(folder / "backups", None)
