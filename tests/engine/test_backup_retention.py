"""`owctl backup --keep-last`: older ones go once the new one was verified, and not before."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from backup_project import Project

from owctl.backup import catalogue
from owctl.engine.connection import Engine
from owctl.engine.execution import run

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

    # A backup of a clock that was years ahead neither goes nor pushes the new one out.
    ahead = project.folder / "backups" / "21310101T000000Z-ffffff"
    (project.folder / "backups" / third["id"]).rename(ahead)
    document = json.loads((ahead / "manifest.json").read_bytes())
    document |= {"id": ahead.name, "created_at": "2131-01-01T00:00:00Z"}
    (ahead / "manifest.json").write_text(json.dumps(document))
    catalogue.write_record(ahead, catalogue.now("ok"))
    fourth = back_up("--only", "db", "--keep-last", "1")
    left = {path.name for path in (project.folder / "backups").iterdir()}
    assert left == {fourth["id"], part["id"], ahead.name}

    # A removed container would be made again for the backup; one without pg_dump cannot be backed up.
    hide = 'mv "$(command -v pg_dump)" /tmp/pg_dump'
    assert run(project.engine, project.containers["postgres"], ["sh", "-c", hide]).exit_code == 0
    failed = owctl(project, "--only", "db", "--keep-last", "1")
    assert failed.returncode != 0
    assert {path.name for path in (project.folder / "backups").iterdir()} == left
