"""A backup of a real stack holds what the stack holds, and says what it does not hold."""

import contextlib
import io
import json
import sqlite3
import stat
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from backup_project import Project

from owctl.backup import manifest as manifests
from owctl.backup.create.run import BackupRequest, CreatedBackup, create_backup
from owctl.backup.verify import verify_backup
from owctl.engine.connection import Engine
from owctl.engine.execution import open_exec, run

pytestmark = pytest.mark.engine

UPLOADS = {"uploads/f1": b"first" * 5000, "uploads/ü f2": b"second", "uploads/deep/er": b""}


@pytest.fixture(scope="module")
def project(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(engine, tmp_path_factory.mktemp("not-the-upstream-name"))
    try:
        project.start("redis")
        project.start("rust-backend")
        project.start_database()
        project.put("rust-backend", "/app/data", UPLOADS)
        yield project
    finally:
        project.remove()


@pytest.fixture(scope="module")
def created(engine: Engine, project: Project) -> CreatedBackup:
    redis = project.containers["redis"]
    answer = run(engine, redis, ["redis-cli", "-a", "swordfish", "set", "owl", "hoots-softly"])
    assert answer.stdout.strip() == b"OK"
    return create_backup(engine, project.stack, BackupRequest(label="first"))


def content(created: CreatedBackup, name: str) -> bytes:
    with (created.path / name).open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file).read()


def test_uploads_are_in_it(created: CreatedBackup) -> None:
    data = content(created, "volumes/rust_backend_data.tar.zst")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = {
            entry.name.removeprefix("./"): archive.extractfile(entry).read()
            for entry in archive
            if entry.isfile()
        }
    assert files == UPLOADS
    assert created.manifest.warnings == ()


def test_the_dump_restores(engine: Engine, project: Project, created: CreatedBackup) -> None:
    dump = content(created, "postgres.dump.zst")
    project.sql("CREATE DATABASE again")
    argv = ["pg_restore", "--exit-on-error", "--no-owner", "-U", "web", "-d", "again"]
    answer = run(engine, project.containers["postgres"], argv, stdin=dump)
    assert answer.exit_code == 0, answer.stderr.decode()
    query = """SELECT md5(string_agg(t::text, '' ORDER BY id)) FROM {} t"""
    for table in ("chat", '"user"', "file"):
        statement = query.format(table)
        copied = run(
            engine,
            project.containers["postgres"],
            ["psql", "-XAtq", "-U", "web", "-d", "again", "-c", statement],
        )
        assert copied.stdout.decode().strip() == project.sql(statement)
    # One that stays is named by every backup that does not have it.
    project.sql("DROP DATABASE again")


def test_redis_wrote_its_data_out(created: CreatedBackup) -> None:
    data = content(created, "volumes/redis_data.tar.zst")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        bases = [entry for entry in archive if entry.name.endswith(".base.rdb")]
        assert b"hoots-softly" in archive.extractfile(bases[0]).read()


def test_the_manifest_says_what_there_is(
    engine: Engine, project: Project, created: CreatedBackup
) -> None:
    manifest = manifests.read(created.path)
    assert manifest == created.manifest
    assert created.path.parent == project.folder / "backups"
    assert created.path.name == manifest.id
    assert [member.name for member in manifest.members] == [
        "postgres.dump.zst",
        "volumes/redis_data.tar.zst",
        "volumes/rust_backend_data.tar.zst",
        "config/docker-compose.yaml",
        "config/.env",
    ]
    assert manifest.label == "first"
    rows = manifest.members[0].detail["rows"]
    assert rows == {"public.chat": 2000, "public.file": 2, "public.user": 50}
    assert manifest.members[0].detail["server_version"].startswith("15.")
    assert set(manifest.services) == {"postgres", "redis", "rust-backend"}
    for entry in manifest.services.values():
        assert entry["image_id"].startswith("sha256:")
    assert manifest.engine["version"] == engine.engine_version
    verify_backup(created.path, manifest)


def test_only_its_owner_can_read_it(created: CreatedBackup) -> None:
    for entry in [created.path, created.path.parent, *created.path.rglob("*")]:
        expected = 0o700 if entry.is_dir() else 0o600
        assert stat.S_IMODE(entry.stat().st_mode) == expected, entry
    assert {path.name for path in created.path.iterdir()} == {
        "manifest.json",
        "verification.json",
        "postgres.dump.zst",
        "volumes",
        "config",
    }


def test_no_secret_of_the_database_is_in_the_manifest(created: CreatedBackup) -> None:
    assert "correct-horse" not in json.dumps(created.manifest.to_json())


def test_rows_are_those_of_one_moment_while_others_write(
    engine: Engine, project: Project, tmp_path: Path
) -> None:
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            project.sql(
                "BEGIN; INSERT INTO chat SELECT 'w' || gen_random_uuid(), '{}'; "
                "INSERT INTO \"user\" SELECT 'w' || gen_random_uuid(), 'n'; COMMIT"
            )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        request = BackupRequest(parent=tmp_path, parts=frozenset({"db"}))
        # That the counts are those of the dump is verified, or this would raise.
        made = [create_backup(engine, project.stack, request) for _ in range(2)]
    finally:
        done.set()
        writer.join()
    for each in made:
        rows = each.manifest.members[0].detail["rows"]
        assert rows["public.chat"] - 2000 == rows["public.user"] - 50
    project.sql("DELETE FROM chat WHERE id LIKE 'w%'; DELETE FROM \"user\" WHERE id LIKE 'w%'")


def test_files_that_are_named_but_missing_are_reported(
    engine: Engine, project: Project, tmp_path: Path
) -> None:
    project.sql("INSERT INTO file VALUES ('x', '/app/data/uploads/gone'), ('y', '/elsewhere/y')")
    try:
        made = create_backup(engine, project.stack, BackupRequest(parent=tmp_path))
    finally:
        project.sql("DELETE FROM file WHERE id IN ('x', 'y')")
    (warning,) = made.manifest.warnings
    assert "2 of 4 files" in warning
    assert "uploads/gone" in warning
    assert "/elsewhere/y" in warning


def test_a_volume_without_a_container_is_archived_too(
    engine: Engine, project: Project, tmp_path: Path
) -> None:
    engine.api.remove_container(project.containers["rust-backend"], force=True)
    try:
        request = BackupRequest(parent=tmp_path, parts=frozenset({"files"}))
        made = create_backup(engine, project.stack, request)
    finally:
        project.start("rust-backend")
    data = content(made, "volumes/rust_backend_data.tar.zst")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert "./uploads/f1" in archive.getnames()
    names = [name for item in engine.api.containers(all=True) for name in item["Names"]]
    assert not [name for name in names if name.startswith(f"/{project.name}-owctl")]


LIVE_WRITER = """
import itertools, sqlite3, time
db = sqlite3.connect('/app/data/webui.db', isolation_level=None)
db.execute('PRAGMA journal_mode={mode}')
db.execute('CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT)')
db.execute('CREATE TABLE chat (id INTEGER PRIMARY KEY, user_id INTEGER, text TEXT)')
print('ready', flush=True)
for number in itertools.count():
    db.execute('BEGIN')
    db.execute('INSERT INTO user VALUES (?, ?)', (number, 'n'))
    db.execute('INSERT INTO chat VALUES (?, ?, ?)', (number, number, str(number) * 200))
    db.execute('COMMIT')
    time.sleep({pause_seconds})
"""
STOP_WRITERS = """
for folder in /proc/[0-9]*; do
  grep -qxz python3 $folder/cmdline && kill ${folder#/proc/}
done
rm -f /app/data/webui.db*
"""


@pytest.mark.parametrize(
    ("mode", "pause_seconds"), [("wal", 0.005), ("delete", 1.0), ("wal", 0), ("delete", 0)]
)
def test_a_live_sqlite_database_is_copied_whole_or_not_at_all(
    engine: Engine, project: Project, tmp_path: Path, mode: str, pause_seconds: float
) -> None:
    container = project_container(engine, project)
    script = LIVE_WRITER.format(mode=mode, pause_seconds=pause_seconds)
    with open_exec(engine, container, ["timeout", "60", "python3", "-c", script]) as writer:
        request = BackupRequest(parent=tmp_path, parts=frozenset({"files"}))
        try:
            assert next(iter(writer))[1].startswith(b"ready")
            made = create_backup(engine, project.stack, request)
        finally:
            run(engine, container, ["bash", "-c", STOP_WRITERS])
    copies = [member for member in made.manifest.members if member.kind == "sqlite"]
    if not copies and not pause_seconds:
        # Nobody can copy this one without stopping it; then that is what must be said.
        assert "no consistent copy" in made.manifest.warnings[0]
        return
    assert [copy.name for copy in copies] == ["sqlite/rust_backend_data/webui.db.zst"]
    assert copies[0].detail["integrity_check"] == ["ok"]
    rows = copies[0].detail["rows"]
    assert rows["user"] == rows["chat"]
    if rows["user"]:
        assert "runs on SQLite" in made.manifest.warnings[0]
    path = tmp_path / "copy.db"
    path.write_bytes(content(made, copies[0].name))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (last,) = connection.execute("SELECT coalesce(max(id), -1) FROM chat").fetchone()
    assert last + 1 == rows["chat"]


def project_container(engine: Engine, project: Project) -> str:
    found = engine.api.containers(filters={"name": f"{project.name}-fixed-rust-backend"})
    return found[0]["Id"]


def test_an_empty_postgresql_is_reported(engine: Engine, tmp_path: Path) -> None:
    project = Project(engine, tmp_path)
    try:
        project.start_database(schema="SELECT 1")
        made = create_backup(engine, project.stack, BackupRequest(parts=frozenset({"db"})))
        assert "no tables of Open WebUI" in made.manifest.warnings[0]
        assert made.manifest.members[0].detail["rows"] == {}
    finally:
        project.remove()
