"""Volumes that vanished while the stack was stopped: who says so, and which backup is left of it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from backup_project import Project

from owctl.engine.connection import Engine
from owctl.engine.containers import list_containers, remove_container
from owctl.engine.volumes import inspect_volume, remove_volume

pytestmark = pytest.mark.engine
OWCTL = Path(sys.executable).parent / "owctl"


@pytest.fixture
def project(engine: Engine, tmp_path: Path) -> Iterator[Project]:
    project = Project(engine, tmp_path)
    path = tmp_path / "docker-compose.yaml"
    # Its port is to be reached, so that a start waits for it.
    path.write_text(path.read_text().replace("    network_mode: none\n", ""))
    try:
        project.start_database()
        yield project
    finally:
        owctl(project, "stop")
        project.remove()


def owctl(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [OWCTL, "-C", project.folder, "-p", project.name, *arguments],
        env={**os.environ, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def lost(project: Project) -> dict[str, str]:
    ignored = ("memory", "disk", "images", "data")
    answer = owctl(project, "doctor", "--json", *(f"--ignore={name}" for name in ignored))
    checks = json.loads(answer.stdout)["checks"]
    (found,) = (each for each in checks if each["check"] == "lost-data")
    return found


def lose(project: Project) -> None:
    """As `owctl stop` and an engine's `docker volume prune` do."""
    for container in list_containers(project.engine, project.name):
        remove_container(project.engine, container.id, force=True)
    remove_volume(project.engine, f"{project.name}_postgres_data")


def backed_up(project: Project, *arguments: str) -> dict[str, object]:
    answer = owctl(project, "backup", "--json", "--only", "db,config", *arguments)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_a_volume_that_vanished_is_said_before_an_empty_one_is_made(project: Project) -> None:
    assert lost(project)["status"] == "ok"
    good = backed_up(project)
    assert good["warnings"] == []
    assert lost(project)["status"] == "ok"
    lose(project)

    found = lost(project)
    assert found["status"] == "failed"
    assert "50 accounts and 2000 chats" in found["detail"]
    assert "owctl restore latest" in found["hint"]
    refused = owctl(project, "start", "postgres")
    assert refused.returncode == 1
    for text in (
        "Nothing was started",
        str(good["id"]),
        "owctl restore latest",
        "--ignore lost-data",
    ):
        assert text in refused.stderr
    assert inspect_volume(project.engine, f"{project.name}_postgres_data") is None

    begun = owctl(project, "start", "postgres", "--ignore", "lost-data")
    assert begun.returncode == 0, begun.stderr
    found = lost(project)
    assert (found["status"], "no accounts" in found["detail"]) == ("warning", True)
    empty = backed_up(project, "--keep-last", "1")
    assert empty["removed"] == []
    assert str(good["id"]) in str(empty["warnings"])
    shown = owctl(project, "backup", "prune", "--keep-last", "1", "--dry-run")
    assert "Nothing to remove" in shown.stdout
    assert f"{empty['id']} has no accounts" in shown.stderr
    # The way back names the one that has the data, not the latest.
    assert f"owctl restore {good['id']}" in lost(project)["hint"]


def test_a_restore_into_the_emptied_place_is_not_stopped(project: Project) -> None:
    backed_up(project)
    lose(project)
    restored = owctl(project, "restore", "latest", "--only", "db", "--yes", "--no-safety-backup")
    assert restored.returncode == 0, restored.stderr
    started = owctl(project, "start", "postgres")
    assert started.returncode == 0, started.stderr
    assert lost(project)["status"] == "ok"

    # Another name for the database, of which the server has none.
    path = project.folder / "docker-compose.yaml"
    path.write_text(path.read_text().replace('"POSTGRES_DB": "chats"', '"POSTGRES_DB": "talks"'))
    refused = owctl(project, "start", "postgres")
    assert refused.returncode == 1
    assert "no database talks" in refused.stderr
    assert "in the database chats" in refused.stderr
