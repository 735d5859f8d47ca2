"""Whatever stops a backup: a clear error, nothing half-made, earlier backups and PostgreSQL whole."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from backup_project import Project
from engine_helpers import wait_until

from owctl.backup.create.capture import MEMBER_NAME
from owctl.backup.create.run import BackupRequest, create_backup
from owctl.engine.connection import Engine
from owctl.errors import OwctlError
from owctl.progress import Event
from owctl.project.lock import project_lock

pytestmark = pytest.mark.engine

# Enough for a dump to be under way for a while, and more than a pipe holds.
MORE = """
INSERT INTO chat SELECT 'big' || i, jsonb_build_object('text',
  (SELECT string_agg(md5((i * 100 + j)::text), '') FROM generate_series(1, 100) j))
FROM generate_series(1, 12000) i;
"""


@pytest.fixture(scope="module")
def stack(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(engine, tmp_path_factory.mktemp("folder"))
    try:
        project.start("rust-backend")
        project.start_database()
        project.sql(MORE)
        yield project
    finally:
        project.remove()


@pytest.fixture
def project(stack: Project) -> Iterator[Project]:
    backups = stack.folder / "backups"
    (backups / "earlier").mkdir(parents=True)
    yield stack
    shutil.rmtree(backups)


def in_the_dump(act: Callable[[], None]) -> Callable[[Event], None]:
    """Return a receiver that acts once, when the dump is under way."""
    acted: list[bool] = []

    def receive(event: Event) -> None:
        begun = event.kind == "member" and event.subject == MEMBER_NAME
        if begun and event.text == "writing" and event.done and not acted:
            acted.append(True)
            act()

    return receive


def assert_nothing_left(project: Project) -> None:
    assert [path.name for path in (project.folder / "backups").iterdir()] == ["earlier"]


def assert_database_at_rest(project: Project) -> None:
    wait_until(lambda: "pg_dump" not in project.processes("postgres"), "pg_dump has ended")
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'owctl%'"
    wait_until(lambda: project.sql(query) == "0", "no session of owctl is left")
    log = project.engine.api.logs(project.containers["postgres"]).decode()
    assert not re.search("terminated by signal|terminating any other active", log)


def raise_(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OwctlError("anything")])
def test_an_interrupted_one(engine: Engine, project: Project, error: BaseException) -> None:
    with pytest.raises(type(error)):
        create_backup(engine, project.stack, BackupRequest(), in_the_dump(lambda: raise_(error)))
    assert_nothing_left(project)
    assert_database_at_rest(project)


def test_a_container_that_dies(engine: Engine, project: Project) -> None:
    container = project.containers["postgres"]
    # In a thread: the engine calls it killed only after its output was read.
    killer = threading.Thread(target=lambda: engine.api.kill(container))
    with pytest.raises(OwctlError) as caught:
        create_backup(engine, project.stack, BackupRequest(), in_the_dump(killer.start))
    killer.join()
    assert re.search("stopped while|Cannot read|Cannot run", caught.value.message)
    assert caught.value.hint
    assert_nothing_left(project)

    wait_until(
        lambda: not engine.api.inspect_container(container)["State"]["Running"], "it is dead"
    )
    engine.api.start(container)
    project.wait_for_database()


def test_pg_dump_that_fails(engine: Engine, project: Project) -> None:
    fail = in_the_dump(
        lambda: project.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'COPY public.chat %' AND pid <> pg_backend_pid()"
        )
    )
    with pytest.raises(OwctlError, match="pg_dump failed") as caught:
        create_backup(engine, project.stack, BackupRequest(), fail)
    assert any("terminat" in line for line in caught.value.details)
    assert_nothing_left(project)
    assert_database_at_rest(project)


def run_cli(project: Project, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "owctl", "-C", str(project.folder), "-p", project.name]
    return subprocess.Popen(
        [*command, "backup", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_dump(project: Project, process: subprocess.Popen[str]) -> None:
    def begun() -> bool:
        assert process.poll() is None, process.communicate()
        dumps = (project.folder / "backups").glob(f"*.partial/{MEMBER_NAME}")
        return any(path.stat().st_size > 1 << 20 for path in dumps)

    wait_until(begun, "the dump is being written")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal(project: Project, name: str) -> None:
    import signal

    process = run_cli(project)
    wait_for_dump(project, process)
    process.send_signal(getattr(signal, name))
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr
    assert_nothing_left(project)
    assert_database_at_rest(project)


def test_a_kill_leaves_only_what_the_next_one_removes(project: Project) -> None:
    process = run_cli(project)
    wait_for_dump(project, process)
    process.kill()
    process.communicate(timeout=60)
    left = [path.name for path in (project.folder / "backups").iterdir()]
    assert len(left) == 2
    assert_database_at_rest(project)

    process = run_cli(project, "-q")
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    names = {path.name for path in (project.folder / "backups").iterdir()}
    assert names == {"earlier", Path(stdout.strip()).name}


def test_another_owctl_at_work(engine: Engine, project: Project) -> None:
    with project_lock(engine.engine_id, project.name, "restart"):
        process = run_cli(project)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 8
    assert "restart" in stderr
    assert_nothing_left(project)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system: root only")
@pytest.mark.parametrize("size_mb", [1, 6])
def test_a_full_disk(engine: Engine, project: Project, tmp_path: Path, size_mb: int) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "owctl-test", str(disk)]
    subprocess.run(mount, check=True)
    try:
        (disk / "earlier").mkdir()
        with pytest.raises(OwctlError, match="space") as caught:
            create_backup(engine, project.stack, BackupRequest(parent=disk))
        assert "--output" in (caught.value.hint or "")
        assert [path.name for path in disk.iterdir()] == ["earlier"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert_database_at_rest(project)
