"""Capturing from a container that is at work or stopped, or from a volume; uploads to a new volume."""

import contextlib
import hashlib
import io
import os
import secrets
import sqlite3
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_helpers import wait_until

from owctl.engine.archives import read_archive, write_archive
from owctl.engine.connection import Engine
from owctl.engine.containers import (
    create_container,
    inspect_container,
    start_container,
    stop_container,
)
from owctl.engine.execution import open_exec, run
from owctl.errors import NotFound, OwctlError
from owctl.migrate.load.files import (
    StoredFile,
    captured_sizes,
    copy_files,
    place_sizes,
    remove_uploads,
)
from owctl.migrate.source.capture import (
    capture_file,
    capture_place,
    find_container,
    open_volume,
    read_captured,
)

pytestmark = pytest.mark.engine

IMAGE = "owctl-demo-rust-backend:latest"
DATA = "/app/backend/data"
UPLOADS = {"id-1_a b.txt": b"first" * 70_000, "id-2_ü.bin": os.urandom(500_000), "stray": b"x"}
# Both rows change in one transaction: a torn copy would hold different numbers. Far busier than
# people are, but with pauses, as they have.
WRITER = f"""
import sqlite3, time
c = sqlite3.connect("{DATA}/webui.db", isolation_level=None)
c.execute("PRAGMA journal_mode = WAL")
c.execute("CREATE TABLE IF NOT EXISTS pair (name TEXT PRIMARY KEY, n INT, filling TEXT)")
c.execute("INSERT OR IGNORE INTO pair VALUES ('a', 0, ''), ('b', 0, '')")
print("ready", flush=True)
n = 0
while True:
    n += 1
    c.execute("BEGIN IMMEDIATE")
    c.execute("UPDATE pair SET n = ?, filling = ? WHERE name = 'a'", (n, "x" * (n * 37 % 9000)))
    c.execute("UPDATE pair SET n = ?, filling = ? WHERE name = 'b'", (n, "y" * (n * 91 % 9000)))
    c.execute("COMMIT")
    time.sleep(0.005)
"""


class Old:
    """A container with a volume at the old backend's data folder."""

    def __init__(self, engine: Engine, environment: dict[str, str]) -> None:
        self.engine = engine
        self.name = f"owctl-test-{secrets.token_hex(4)}"
        self.volume = f"{self.name}_data"
        labels = {"com.docker.compose.project": self.name}
        engine.api.create_volume(self.volume, labels=labels)
        body = {
            "Image": IMAGE,
            "Entrypoint": [],
            "Cmd": ["sleep", "3600"],
            "User": "0:0",
            "Env": [f"{key}={value}" for key, value in environment.items()],
            "Labels": labels,
            "HostConfig": {
                "NetworkMode": "none",
                "Init": True,
                "Mounts": [{"Type": "volume", "Source": self.volume, "Target": DATA}],
            },
        }
        self.id = create_container(engine, self.name, body)
        start_container(engine, self.id)

    def put(self, files: dict[str, bytes], folder: str = DATA, owner: int = 0) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
                entry.mode = 0o750 if name.endswith("/") else 0o640
                entry.size, entry.uid, entry.gid = len(content), owner, owner
                archive.addfile(entry, io.BytesIO(content))
        write_archive(self.engine, self.id, folder, buffer.getvalue())

    def listing(self) -> str:
        return run(self.engine, self.id, ["find", DATA, "-printf", "%p %s %T@\n"]).stdout.decode()

    def remove(self) -> None:
        self.engine.api.remove_container(self.id, force=True, v=True)
        self.engine.api.remove_volume(self.volume)


@pytest.fixture
def old(engine: Engine) -> Iterator[Old]:
    made = Old(engine, {})
    try:
        yield made
    finally:
        made.remove()


def database(text: str) -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE user (id TEXT)")
    connection.execute("INSERT INTO user VALUES (?)", (text,))
    connection.commit()
    return connection.serialize()


def test_a_container_at_work_is_captured_whole(engine: Engine, old: Old, tmp_path: Path) -> None:
    with open_exec(engine, old.id, ["python3", "-c", WRITER]) as writer:
        assert next(iter(writer))[1].strip() == b"ready"
        names = {line.split()[0] for line in old.listing().splitlines()}
        numbers = []
        for attempt in range(5):
            folder = tmp_path / str(attempt)
            folder.mkdir()
            captured = capture_place(engine, find_container(engine, old.name), folder)
            assert {path.name for path in captured.database.parent.iterdir()} == {"webui.db"}
            with contextlib.closing(sqlite3.connect(captured.database)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                (first, second) = connection.execute("SELECT n FROM pair ORDER BY name").fetchall()
            assert first == second
            numbers.append(first[0])
        assert numbers == sorted(numbers)
        assert numbers[0] < numbers[-1]
        assert {line.split()[0] for line in old.listing().splitlines()} == names


def test_a_stopped_container_with_an_unfinished_log(
    engine: Engine, old: Old, tmp_path: Path
) -> None:
    with open_exec(engine, old.id, ["python3", "-c", WRITER]) as writer:
        assert next(iter(writer))[1].strip() == b"ready"
        # The writer is killed with the container: what it wrote last is in the log alone.
        engine.api.kill(old.id)
    wait_until(lambda: not inspect_container(engine, old.id).is_running, "it has stopped")
    captured = capture_place(engine, find_container(engine, old.name), tmp_path)
    with contextlib.closing(sqlite3.connect(captured.database)) as connection:
        (first, second) = connection.execute("SELECT n FROM pair ORDER BY name").fetchall()
    assert first == second
    assert first[0] > 0


def test_a_volume_with_uploads_and_vectors(engine: Engine, old: Old, tmp_path: Path) -> None:
    old.put(
        {
            "webui.db": database("somebody"),
            "uploads/": b"",
            **{f"uploads/{name}": content for name, content in UPLOADS.items()},
            "vector_db/": b"",
            "vector_db/chroma.sqlite3": b"x" * 30_000,
        }
    )
    before = old.listing()
    image = inspect_container(engine, old.id).image_id
    with open_volume(engine, old.name, image, old.volume) as place:
        captured = capture_place(engine, place, tmp_path)
    assert old.listing() == before
    assert captured.vector_data
    assert read_captured(tmp_path) == captured
    assert stat.S_IMODE(captured.database.stat().st_mode) == 0o600
    assert captured.database_sha256 == hashlib.sha256(database("somebody")).hexdigest()


def test_a_volume_or_container_without_a_database_is_refused(engine: Engine, old: Old) -> None:
    with pytest.raises(OwctlError, match=f"no database at {DATA}/webui.db"):
        find_container(engine, old.name)
    with pytest.raises(NotFound, match="no container"):
        find_container(engine, "owctl-test-there-is-none")
    image = inspect_container(engine, old.id).image_id
    with (
        pytest.raises(NotFound, match="no volume"),
        open_volume(engine, old.name, image, "owctl-test-there-is-none"),
    ):
        pass


def test_the_settings_of_the_old_container_count(engine: Engine) -> None:
    moved = Old(engine, {"DATA_DIR": f"{DATA}/elsewhere"})
    foreign = Old(engine, {"DATABASE_URL": "postgresql://u:p@h/d"})
    try:
        moved.put({"elsewhere/": b"", "elsewhere/webui.db": database("x")})
        assert find_container(engine, moved.name).database == f"{DATA}/elsewhere/webui.db"
        with pytest.raises(OwctlError, match="another database"):
            find_container(engine, foreign.name)
    finally:
        moved.remove()
        foreign.remove()


def test_files_arrive_where_the_rows_say(engine: Engine, old: Old, tmp_path: Path) -> None:
    (tmp_path / "old" / "uploads").mkdir(parents=True)
    for name, content in UPLOADS.items():
        (tmp_path / "old" / "uploads" / name).write_bytes(content)
    (tmp_path / "old" / "uploads" / "link").symlink_to("/etc/passwd")
    (tmp_path / "old" / "webui.db").write_bytes(database("x"))
    (tmp_path / "migration").mkdir()
    captured = capture_file(tmp_path / "old" / "webui.db", None, tmp_path / "migration")
    target = f"{DATA}/uploads"
    rows = [
        StoredFile("id-1", f"{DATA}/uploads/id-1_a b.txt", f"{target}/id-1_a b.txt"),
        StoredFile("id-2", "uploads/id-2_ü.bin", f"{target}/id-2_ü.bin"),
        StoredFile("id-3", f"{DATA}/uploads/id-3_gone", f"{target}/id-3_gone"),
        StoredFile("id-4", "s3://bucket/id-4", "s3://bucket/id-4"),
        StoredFile("id-5", f"{DATA}/uploads/../../../etc/passwd", f"{target}/passwd"),
        StoredFile("id-6", f"{DATA}/uploads/link", f"{target}/link"),
    ]
    old.put({"uploads/": b""}, owner=1000)
    stop_container(engine, old.id, 1)
    for _ in range(2):
        result = copy_files(engine, old.id, target, captured, rows)
        assert result.copied == 2
        assert [row.id for row in result.missing] == ["id-3", "id-6"]
        assert [row.id for row in result.elsewhere] == ["id-4", "id-5"]
        assert result.unreferenced == ("stray",)
    with read_archive(engine, old.id, f"{target}/.") as stream:
        content = io.BytesIO(b"".join(stream))
    with tarfile.open(fileobj=content) as archive:
        found = {e.name.removeprefix("./"): e for e in archive if e.isfile()}
        assert set(found) == {"id-1_a b.txt", "id-2_ü.bin"}
        for name, entry in found.items():
            assert archive.extractfile(entry).read() == UPLOADS[name]
            assert (entry.uid, entry.gid) == (1000, 1000)
            assert result.hashes[name] == hashlib.sha256(UPLOADS[name]).hexdigest()


def test_a_folder_for_uploads_is_made_where_there_is_none(
    engine: Engine, old: Old, tmp_path: Path
) -> None:
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "id-1_x").write_bytes(b"content")
    (tmp_path / "webui.db").write_bytes(database("x"))
    (tmp_path / "migration").mkdir()
    captured = capture_file(tmp_path / "webui.db", None, tmp_path / "migration")
    rows = [StoredFile("id-1", "/x/uploads/id-1_x", f"{DATA}/deep/id-1_x")]
    assert copy_files(engine, old.id, f"{DATA}/deep", captured, rows).copied == 1
    with pytest.raises(OwctlError, match="no folder"):
        copy_files(engine, old.id, "/nowhere/deep/er", captured, rows)


def test_earlier_uploads_go_and_folders_below_uploads_come(
    engine: Engine, old: Old, tmp_path: Path
) -> None:
    (tmp_path / "uploads" / "2024").mkdir(parents=True)
    (tmp_path / "uploads" / "2024" / "id_x").write_bytes(b"content")
    (tmp_path / "webui.db").write_bytes(database("x"))
    (tmp_path / "migration").mkdir()
    captured = capture_file(tmp_path / "webui.db", None, tmp_path / "migration")
    target = f"{DATA}/uploads"
    earlier = {f"uploads/{name}": b"" for name in ("-rf", ".hidden", "a b", "..c")}
    old.put({"uploads/": b"", **earlier, "webui.db": b"stays"}, owner=1000)
    stop_container(engine, old.id, 1)
    container = inspect_container(engine, old.id)
    assert container is not None
    assert place_sizes(engine, find_container(engine, old.name)) == dict.fromkeys(
        ("-rf", ".hidden", "a b", "..c"), 0
    )
    assert remove_uploads(engine, old.name, container, target)
    rows = [StoredFile("id-1", "C:\\Users\\Ann\\uploads\\2024\\id_x", f"{target}/2024/id_x")]
    sizes = captured_sizes(captured)
    assert sizes == {"2024/id_x": 7}
    result = copy_files(engine, old.id, target, captured, rows, names=sizes)
    assert (result.copied, set(result.hashes)) == (1, {"2024/id_x"})
    with read_archive(engine, old.id, f"{DATA}/.") as stream:
        content = io.BytesIO(b"".join(stream))
    with tarfile.open(fileobj=content) as archive:
        found = {entry.name.removeprefix("./"): entry for entry in archive}
    assert {"webui.db", "uploads/2024", "uploads/2024/id_x"} <= set(found)
    assert not [name for name in found if name.startswith("uploads/") and "2024" not in name]
    assert found["uploads/2024"].uid == found["uploads/2024/id_x"].uid == 1000
