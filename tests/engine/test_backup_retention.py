"""`owctl backup --keep-last`: older ones go once the new one was verified, and not before."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from backup_project import Project

from owctl.engine.connection import Engine

pytestmark = pytest.mark.engine
OWCTL = Path(sys.executable).parent / "owctl"


@pytest.fixture(scope="module")
def project(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(engine, tmp_path_factory.mktemp("kept"))
    try:
        project.start_database()
        yield project
    finally:
        project.remove()


def owctl(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [OWCTL, "-C", project.folder, "-p", project.name, "backup", *arguments],
        env={**os.environ, "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_older_ones_go_after_a_backup_and_none_after_a_failure(project: Project) -> None:
    def back_up(*arguments: str) -> dict:
        result = owctl(project, "--json", *arguments)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    first = back_up("--only", "db")
    assert first["removed"] == []
    second = back_up("--only", "db", "--keep-last", "2")
    assert second["removed"] == []
    # A part of the stack takes the place of no other part.
    part = back_up("--only", "config", "--keep-last", "1")
    assert part["removed"] == [first["id"]]
    third = back_up("--only", "db", "--keep-last", "1")
    assert third["removed"] == [second["id"]]
    left = {path.name for path in (project.folder / "backups").iterdir()}
    assert left == {third["id"], part["id"]}

    project.engine.api.remove_container(project.containers["postgres"], force=True)
    failed = owctl(project, "--only", "db", "--keep-last", "1")
    assert failed.returncode != 0
    assert {path.name for path in (project.folder / "backups").iterdir()} == left
