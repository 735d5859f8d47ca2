"""An encrypted backup of a real stack: made, looked at with and without the key, restored."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from backup_project import Project

from owctl.backup import manifest as manifests
from owctl.backup.encryption import load_identities
from owctl.backup.verify import verify_backup
from owctl.engine.connection import Engine
from owctl.engine.execution import run

pytestmark = pytest.mark.engine
STATE = "SELECT count(*), md5(string_agg(c::text, '' ORDER BY id)) FROM chat c"


@pytest.fixture(scope="module")
def project(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    import pyrage

    project = Project(engine, tmp_path_factory.mktemp("encrypted"))
    try:
        project.start("redis")
        project.start("rust-backend")
        project.start_database()
        with sqlite3.connect(project.folder / "x.db") as connection:
            connection.execute("CREATE TABLE note (text)")
            connection.execute("INSERT INTO note VALUES ('hoots softly')")
        connection.close()
        database = (project.folder / "x.db").read_bytes()
        files = {"uploads/f1": b"an upload" * 9, "webui.db": database}
        project.put("rust-backend", "/app/data", files)
        identity = pyrage.x25519.Identity.generate()
        project.recipient = str(identity.to_public())
        for name, key in (("mine.txt", identity), ("other.txt", pyrage.x25519.Identity.generate())):
            (project.folder / name).write_text(f"{key}\n")
        yield project
    finally:
        project.remove()


def owctl(project: Project, *words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "owctl", "-C", str(project.folder), "-p", project.name, *words]
    answer = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=project.folder,
    )
    assert answer.returncode == expect, answer.stdout + answer.stderr
    return answer


@pytest.fixture(scope="module")
def backup(project: Project) -> Path:
    made = owctl(project, "backup", "--encrypt-to", project.recipient, "--json")
    return Path(json.loads(made.stdout)["path"])


def test_nothing_readable_is_stored(project: Project, backup: Path) -> None:
    manifest = manifests.read(backup)
    assert [member.name for member in manifest.members] == [
        "postgres.dump.zst.age",
        "volumes/redis_data.tar.zst.age",
        "volumes/rust_backend_data.tar.zst.age",
        "sqlite/rust_backend_data/webui.db.zst.age",
        "config/docker-compose.yaml.age",
        "config/.env.age",
    ]
    assert manifest.encryption == {"format": "age", "recipients": [project.recipient]}
    assert manifest.members[0].detail["rows"]["public.chat"] == 2000
    for path in backup.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert path.suffix in (".json", ".age")
            assert b"WEBUI_SECRET_KEY=secret" not in data
            assert b"hoots softly" not in data
            assert path.suffix == ".json" or data.startswith(b"age-encryption.org/v1\n")
    verify_backup(backup, manifest, identities=load_identities(project.folder / "mine.txt"))


def test_looking_at_it_with_and_without_the_key(project: Project, backup: Path) -> None:
    blind = owctl(project, "backup", "verify")
    assert "read back by hash" in blind.stdout
    assert "its contents can be verified with the identity" in blind.stdout
    seen = owctl(project, "backup", "verify", "--identity", "mine.txt", "--drill", "--json")
    (found,) = json.loads(seen.stdout)["backups"]
    assert (found["status"], found["by_hash"], found["drill"]["rows"]) == ("ok", False, 2052)
    assert found["drill"]["sqlite_databases"] == 1
    wrong = owctl(project, "backup", "verify", "--identity", "other.txt", expect=4)
    assert "was not encrypted to the identity in" in wrong.stderr
    refused = owctl(project, "backup", "verify", "--drill", expect=2)
    assert "--identity" in refused.stderr
    # What went wrong with the key is not held against the backup.
    listed = json.loads(owctl(project, "backup", "list", "--json").stdout)["backups"]
    assert [(each["verified"], each["drilled"]) for each in listed] == [(True, True)]


def test_damage_is_damage_whoever_looks(project: Project, backup: Path, tmp_path: Path) -> None:
    copy = tmp_path / backup.name
    shutil.copytree(backup, copy)
    path = copy / "config" / ".env.age"
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    for words in ((), ("--identity", "mine.txt"), ("--identity", "other.txt")):
        expect = 4 if "other.txt" in words else 7
        owctl(project, "backup", "verify", str(copy), *words, expect=expect)


def test_by_hand_with_age_and_pg_restore(engine: Engine, project: Project, backup: Path) -> None:
    age = shutil.which("age")
    if age is None:
        missing = "needs age; scripts/test-tools installs it"
        pytest.fail(missing) if os.environ.get("OWCTL_REQUIRE_DOCKER") == "1" else pytest.skip(
            missing
        )
    argv = [age, "-d", "-i", project.folder / "mine.txt", backup / "postgres.dump.zst.age"]
    packed = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
    dump = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    project.sql("CREATE DATABASE by_hand")
    words = ["pg_restore", "--exit-on-error", "--no-owner", "-U", "web", "-d", "by_hand"]
    answer = run(engine, project.containers["postgres"], words, stdin=dump)
    assert answer.exit_code == 0, answer.stderr.decode()


def test_restoring_it(project: Project, backup: Path) -> None:
    before = project.sql(STATE)
    project.sql("DELETE FROM chat")
    words = ["restore", backup.name, "--only", "db", "--yes"]
    refused = owctl(project, *words, expect=2)
    assert "--identity" in refused.stderr
    assert project.sql("SELECT count(*) FROM chat") == "0"
    owctl(project, *words, "--identity", "other.txt", expect=4)
    assert project.sql("SELECT count(*) FROM chat") == "0"
    owctl(project, *words, "--identity", "mine.txt")
    assert project.sql(STATE) == before
    owctl(project, "restore", "finish", "--yes")
    # What was there before is in no file that others can read, either.
    (safety,) = (each for each in backup.parent.iterdir() if each != backup)
    assert manifests.read(safety).encryption == manifests.read(backup).encryption
    assert all(path.suffix in (".age", ".json") for path in safety.rglob("*") if path.is_file())
