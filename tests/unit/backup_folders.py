"""Folders of backups with real members, made without an engine."""

import io
import sqlite3
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from test_backup_dump_scan import dump

from owctl.backup import catalogue, manifest
from owctl.backup.manifest import Kind, Manifest, Member
from owctl.backup.member_file import MemberFile

FULL = ("db", "files", "redis", "config")
ROWS = {"public.chat": 2, "public.user": 9}


def days_ago(days: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=days)


def make_backup(
    parent: Path,
    moment: datetime,
    *,
    project: str = "proj",
    parts: tuple[str, ...] = FULL,
    verified: bool = True,
    digits: str = "aaaaaa",
    empty: bool = False,
    **fields: object,
) -> Path:
    """Make a backup of that time and return its folder."""
    backup_id = f"{moment:%Y%m%dT%H%M%SZ}-{digits}"
    folder = parent / backup_id
    folder.mkdir(parents=True, mode=0o700)
    members = []
    if "db" in parts:
        rows = dict.fromkeys(ROWS, 0) if empty else ROWS
        content = dump(empty=empty)
        members.append(_member(folder, "postgres.dump.zst", "database", content, rows=rows))
    if "files" in parts:
        members.append(_member(folder, "volumes/data.tar.zst", "volume", _tar()))
    if "config" in parts:
        members.append(_member(folder, "config/.env", "configuration", b"SECRET=1\n"))
    made = Manifest(
        id=backup_id,
        project=project,
        created_at=f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        duration_ms=1,
        members=tuple(members),
        **{"stack": {"working_dir": "/", "parts": list(parts)}, **fields},
    )
    (folder / "manifest.json").write_bytes(manifest.dump(made))
    if verified:
        catalogue.write_record(folder, catalogue.now("ok"))
    return folder


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def sqlite_member(folder: Path, scratch: Path, rows: int) -> Member:
    """Store a SQLite database with a table of so many rows, and describe it."""
    path = scratch / "source.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE chat (id INTEGER PRIMARY KEY, text TEXT)")
    connection.executemany("INSERT INTO chat (text) VALUES (?)", [("x" * 200,)] * rows)
    connection.commit()
    connection.close()
    content = path.read_bytes()
    path.unlink()
    detail = {"path": "webui.db", "integrity_check": ["ok"], "rows": {"chat": rows}}
    return _member(folder, "sqlite/data/webui.db.zst", "sqlite", content, **detail)


def _member(folder: Path, name: str, kind: Kind, content: bytes, **detail: object) -> Member:
    with MemberFile(folder, name, compressed=name.endswith(".zst")) as file:
        file.write(content)
        stored = file.finish()
    return Member(name, kind, stored.size_bytes, stored.sha256, stored.content_size_bytes, detail)


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("./file")
        entry.size = 5000
        archive.addfile(entry, io.BytesIO(bytes(5000)))
    return buffer.getvalue()
