"""--quiesce: what writes stands still while it is captured, and runs again on every way out."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from backup_project import Project
from engine_helpers import wait_until
from interlude_project import backups, fill, finished, history, owctl, recorded, states

from owctl.backup.create.run import BackupRequest, create_backup
from owctl.commands.backup.create import raise_failures
from owctl.engine.connection import Engine
from owctl.engine.execution import open_exec, run
from owctl.errors import OwctlError
from owctl.progress import Event

pytestmark = pytest.mark.engine

Moment = Callable[[Event], bool]
RUNNING = {"postgres": "running", "redis": "running", "rust-backend": "running"}
QUIET = RUNNING | {"rust-backend": "exited"}
QUIESCED = BackupRequest(quiesce=True)
FLAT_OUT = """
import itertools, sqlite3
db = sqlite3.connect('/app/data/webui.db', isolation_level=None)
db.execute('CREATE TABLE IF NOT EXISTS user (id INTEGER PRIMARY KEY, name TEXT)')
print('ready', flush=True)
for number in itertools.count():
    db.execute('INSERT INTO user (name) VALUES (?)', (str(number) * 100,))
"""


@pytest.fixture(scope="module")
def made(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(engine, tmp_path_factory.mktemp("folder"))
    try:
        fill(project)
        yield project
    finally:
        project.remove()


@pytest.fixture
def project(made: Project) -> Iterator[Project]:
    for path in (made.folder / "backups").glob("*"):
        path.rename(made.folder / f"old-{path.name}")
    assert states(made) == RUNNING
    yield made
    made.engine.api.start(made.containers["rust-backend"])


def writing(member: str) -> Moment:
    def fits(event: Event) -> bool:
        begun = event.kind == "member" and event.text == "writing"
        return begun and event.subject == member

    return fits


def step(kind: str) -> Moment:
    def fits(event: Event) -> bool:
        begun = event.state == "started"
        return begun and event.kind == kind

    return fits


def test_it_stands_still_while_it_is_captured(engine: Engine, project: Project) -> None:
    seen: dict[str, dict[str, str]] = {}

    def receive(event: Event) -> None:
        if event.kind != "member":
            return
        if event.text == "writing":
            seen.setdefault(event.subject, states(project))
            assert recorded(project)["stopped"][0]["service"] == "rust-backend"
        elif event.subject == "config/.env":
            seen.setdefault(event.subject, states(project))

    created = create_backup(engine, project.stack, QUIESCED, receive)
    assert seen == {
        "postgres.dump.zst": QUIET,
        "volumes/redis_data.tar.zst": QUIET,
        "volumes/rust_backend_data.tar.zst": QUIET,
        "config/.env": RUNNING,
    }
    assert states(project) == RUNNING
    assert recorded(project) is None
    assert created.failures == ()
    assert created.manifest.stack["quiesced"] == ["rust-backend"]
    assert 0 < created.downtime_seconds < created.manifest.duration_ms / 1000


@pytest.mark.parametrize(("part", "quiesced"), [("redis", ["rust-backend"]), ("config", [])])
def test_only_what_writes_to_the_captured_stops(
    engine: Engine, project: Project, part: str, quiesced: list[str]
) -> None:
    request = BackupRequest(parts=frozenset({part}), quiesce=True)
    created = create_backup(engine, project.stack, request)
    assert created.manifest.stack["quiesced"] == quiesced
    assert (created.downtime_seconds is None) == (not quiesced)
    assert states(project) == RUNNING


def test_sqlite_that_is_written_to_flat_out_needs_it(engine: Engine, project: Project) -> None:
    writer = open_exec(engine, project.containers["rust-backend"], ["python3", "-c", FLAT_OUT])
    files = frozenset({"files"})
    with writer:
        assert next(iter(writer))[1].startswith(b"ready")
        live = create_backup(engine, project.stack, BackupRequest(parts=files))
        quiet = create_backup(engine, project.stack, BackupRequest(parts=files, quiesce=True))
    # How busy the writer is depends on the disk: live there is a sound copy, or the way to one.
    for member in live.manifest.members[1:]:
        assert member.detail["integrity_check"] == ["ok"]
    if len(live.manifest.members) == 1:
        assert "owctl backup --quiesce" in live.manifest.warnings[0]
    copy = quiet.manifest.members[1]
    assert copy.name == "sqlite/rust_backend_data/webui.db.zst"
    assert copy.detail["integrity_check"] == ["ok"]
    assert not any("--quiesce" in warning for warning in quiet.manifest.warnings)
    # What wrote was no service, and is gone; its database need not stay, either.
    project.put("rust-backend", "/app/data", {"webui.db": b""})


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OwctlError("anything")])
@pytest.mark.parametrize(
    "moment", [step("stop"), writing("postgres.dump.zst"), writing("volumes/redis_data.tar.zst")]
)
def test_an_error_resumes_it(
    engine: Engine, project: Project, error: BaseException, moment: Moment
) -> None:
    def receive(event: Event) -> None:
        if moment(event):
            raise error

    with pytest.raises(type(error)):
        create_backup(engine, project.stack, QUIESCED, receive)
    assert states(project) == RUNNING
    assert recorded(project) is None
    assert backups(project) == []


def test_an_interruption_while_it_resumes_resumes_it_all_the_same(
    engine: Engine, project: Project
) -> None:
    resuming = step("start")

    def receive(event: Event) -> None:
        if resuming(event):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        create_backup(engine, project.stack, QUIESCED, receive)
    assert states(project) == RUNNING
    assert recorded(project) is None


def quiet(project: Project) -> subprocess.Popen[str]:
    """Begin a backup and return when the backend stands still."""
    process = owctl(project, "backup", "--quiesce")
    wait_until(lambda: states(project) == QUIET, "the backend stands still", timeout_seconds=60)
    return process


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_resumes_it(project: Project, name: str) -> None:
    process = quiet(project)
    process.send_signal(getattr(signal, name))
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, ""), stderr
    assert "Traceback" not in stderr
    assert states(project) == RUNNING
    assert recorded(project) is None
    assert backups(project) == []


@pytest.mark.parametrize("command", [["backup", "--only", "config"], ["restart", "redis"]])
def test_after_a_kill_the_next_owctl_resumes_it(project: Project, command: list[str]) -> None:
    process = quiet(project)
    process.kill()
    process.communicate(timeout=60)
    assert recorded(project)["stopped"][0]["service"] == "rust-backend"
    code, _, stderr = finished(project, *command)
    assert code == 0, stderr
    assert "left rust-backend stopped; started again" in stderr
    assert states(project) == RUNNING
    assert recorded(project) is None


def test_another_projects_record_is_left_alone(project: Project, engine: Engine) -> None:
    record = project.folder / ".owctl" / "quiesced.json"
    record.parent.mkdir(exist_ok=True)
    foreign = (
        '{"schema": 1, "project": "other", "engine_id": "x", "running": [], '
        '"stopped": [], "started": [], "created": ["other-postgres-1"], "networks": []}'
    )
    record.write_text(foreign)
    try:
        with pytest.raises(OwctlError, match="not of this project") as caught:
            create_backup(engine, project.stack, QUIESCED)
        assert "owctl -p other" in (caught.value.hint or "")
        assert finished(project, "backup", "--only", "config")[0] == 0
        assert record.read_text() == foreign
        assert states(project) == RUNNING
    finally:
        record.unlink()


HALF_DONE = """
import os, sqlite3
db = sqlite3.connect('/app/data/half.db', isolation_level=None)
db.execute('CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT)')
db.execute('INSERT INTO user (name) VALUES ("before")')
db.execute('PRAGMA cache_size = 1')
db.execute('BEGIN')
for number in range(2000):
    db.execute('INSERT INTO user (name) VALUES (?)', ('x' * 500,))
os._exit(9)
"""


def test_what_a_killed_program_left_half_done_is_rolled_back(
    engine: Engine, project: Project
) -> None:
    backend = project.containers["rust-backend"]
    assert run(engine, backend, ["python3", "-c", HALF_DONE]).exit_code == 9
    assert run(engine, backend, ["test", "-s", "/app/data/half.db-journal"]).exit_code == 0
    try:
        request = BackupRequest(parts=frozenset({"files"}), quiesce=True)
        created = create_backup(engine, project.stack, request)
    finally:
        run(engine, backend, ["sh", "-c", "rm /app/data/half.db*"])
    (copy,) = [m for m in created.manifest.members if m.name.endswith("half.db.zst")]
    assert copy.detail["integrity_check"] == ["ok"]
    assert copy.detail["rows"] == {"user": 1}


def test_a_service_that_does_not_come_back(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    needed = tmp_path / "needed"
    needed.mkdir()
    project = Project(engine, tmp_path / "project")

    def receive(event: Event) -> None:
        if step("start")(event):
            needed.rmdir()

    try:
        # Without its folder the engine cannot start it.
        volume = f"{project.name}_rust_backend_data"
        mounts = [
            {"Type": "volume", "Source": volume, "Target": "/app/data"},
            {"Type": "bind", "Source": str(needed), "Target": "/needed", "ReadOnly": True},
        ]
        project.start("rust-backend", Mounts=mounts)
        request = BackupRequest(parts=frozenset({"files", "config"}), quiesce=True)
        created = create_backup(engine, project.stack, request, receive)
        assert created.failures
        assert created.verified
        assert backups(project) == [created.manifest.id]
        assert recorded(project)["stopped"][0]["service"] == "rust-backend"

        with pytest.raises(OwctlError) as caught:
            raise_failures(created)
        assert f"The backup {created.manifest.id} is made, but: " in caught.value.message

        needed.mkdir()
        code, _, stderr = finished(project, "backup", "--only", "config")
        assert code == 0, stderr
        assert "left rust-backend stopped; started again" in stderr
        assert states(project) == {"rust-backend": "running"}
    finally:
        project.remove()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system: root only")
def test_a_full_disk_resumes_it(engine: Engine, project: Project, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "owctl-test", str(disk)]
    subprocess.run(mount, check=True)
    try:
        with pytest.raises(OwctlError, match="space"):
            create_backup(engine, project.stack, BackupRequest(parent=disk, quiesce=True))
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert states(project) == RUNNING
    assert recorded(project) is None


def test_it_says_how_long_it_stood_still_and_what_was_not_verified(project: Project) -> None:
    words = ("backup", "--quiesce", "--no-verify", "--only", "redis,config")
    code, stdout, stderr = finished(project, *words)
    assert code == 0, stderr
    (name,) = backups(project)
    assert "Stood still for " in stdout
    assert ": rust-backend\n" in stdout
    assert "Backup written, NOT verified: " in stdout
    assert f"Try: owctl backup verify {name}" in stdout
    assert not (project.folder / "backups" / name / "verification.json").exists()
    assert history(project)[-1]["arguments"][-5:] == list(words)
