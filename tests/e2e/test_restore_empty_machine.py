"""From a backup's folder alone to a running stack, where nothing of it was."""

import json
import shutil
import subprocess
from pathlib import Path

import docker
import pytest

from tests.e2e.conftest import (
    OWCTL,
    Project,
    clean_environment,
    make_project,
    owctl,
    remove_project,
)
from tests.engine.engine_helpers import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
FILL = "CREATE TABLE entry (id int); INSERT INTO entry SELECT generate_series(1, 4321);"
WRITE = (
    "cd /app/data && mkdir -p uploads && echo mine >uploads/one && chmod 640 uploads/one"
    " && touch -d @1000000000 uploads/one"
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, demo_base_image: str):
    """A backup of a stack of which nothing else is left."""
    project = make_project(tmp_path_factory.mktemp("old"), demo_base_image)
    try:
        project.succeed("start", timeout_seconds=900)
        sql(project, FILL)
        project.succeed("shell", "rust-backend", "sh", "-ec", WRITE)
        made = Path(project.succeed("-q", "backup").stdout.strip())
        backup = tmp_path_factory.mktemp("carried") / made.name
        shutil.copytree(made, backup)
        remove_project(project.project)
        shutil.rmtree(project.directory)
        yield project, backup
    finally:
        remove_project(project.project)


def sql(project: Project, statements: str) -> str:
    words = ["psql", "-X", "-q", "-A", "-t", "-U", project.environment["POSTGRES_USER"]]
    words += ["-d", project.environment["POSTGRES_DB"], "-c", statements]
    return project.succeed("shell", "postgres", *words).stdout.strip()


def test_from_the_backup_alone_also_after_a_kill(saved: tuple[Project, Path], tmp_path: Path):
    old, backup = saved
    plan = owctl("restore", backup, "--dry-run", cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr
    assert "write    .env" in plan.stdout
    assert "create   volume rust_backend_data" in plan.stdout
    assert list(tmp_path.iterdir()) == []

    # The first try is killed as soon as it has made a volume.
    environment = clean_environment()
    first = subprocess.Popen(
        [OWCTL, "restore", backup], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    )
    client = docker.from_env()
    labelled = {"label": f"com.docker.compose.project={old.project}"}
    wait_until(lambda: bool(client.volumes.list(filters=labelled)), "a volume", 60)
    first.kill()
    first.wait()
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600

    journal = tmp_path / ".owctl" / "restore.json"
    again = ["restore", "resume"] if journal.exists() else ["restore", backup]
    done = owctl(*again, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "volume rust_backend_data" in done.stdout
    new = Project(tmp_path, old.project, old.ports, old.environment)
    assert sql(new, "SELECT count(*) FROM entry") == "4321"
    listing = "cd /app/data && cat uploads/one && stat -c '%a %Y' uploads/one && ls -A"
    text = new.succeed("shell", "rust-backend", "sh", "-ec", listing).stdout
    assert text.startswith("mine\n640 1000000000\n")
    new.succeed("health")
    assert len(new.status()) == 5
    if not journal.exists():
        assert ".owctl-restore" not in text
    for volume in client.volumes.list(filters=labelled):
        assert volume.attrs["Labels"]["io.owctl.working-dir"] == str(tmp_path)
    client.close()
    # It is a stack as any other: nothing is replaced in it without being asked for.
    refused = new.owctl("restore", backup)
    assert refused.returncode in (1, 2)


def test_another_folder_does_not_take_the_project_over(saved: tuple[Project, Path], tmp_path: Path):
    _, backup = saved
    refused = owctl("restore", backup, "--yes", cwd=tmp_path)
    assert refused.returncode == 1
    assert "belong" in refused.stderr


def test_a_folder_with_other_files_is_left_alone(saved: tuple[Project, Path], tmp_path: Path):
    _, backup = saved
    (tmp_path / ".env").write_text("MINE=1\n")
    refused = owctl("restore", backup, "--yes", cwd=tmp_path)
    assert refused.returncode == 1
    assert ".env is there already" in refused.stderr.replace("\n", " ")
    assert [path.name for path in tmp_path.iterdir()] == [".env"]
    broken = tmp_path / backup.name
    shutil.copytree(backup, broken)
    member = json.loads((backup / "manifest.json").read_text())["members"][0]["name"]
    data = (broken / member).read_bytes()
    (broken / member).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (tmp_path / "empty").mkdir()
    refused = owctl("restore", broken, "--dry-run", cwd=tmp_path / "empty")
    assert refused.returncode == 7
    assert list((tmp_path / "empty").iterdir()) == []
