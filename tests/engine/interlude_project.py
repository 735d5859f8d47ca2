"""What the tests of a backup's interlude look at: which containers run, and what is on record."""

import json
import subprocess
import sys
from pathlib import Path

from backup_project import Project
from engine_helpers import wait_until

from owctl.backup.create.interlude_record import path_of

# Enough chats for a dump to be under way for a while.
MORE = """
INSERT INTO chat SELECT 'big' || i, jsonb_build_object('text',
  (SELECT string_agg(md5((i * 100 + j)::text), '') FROM generate_series(1, 100) j))
FROM generate_series(1, 12000) i;
"""
CHATS = 14_000


def fill(project: Project) -> None:
    """Start the whole stack, with files and more chats in it."""
    project.start("redis")
    project.start("rust-backend")
    project.put("rust-backend", "/app/data", {"uploads/f1": b"1", "uploads/ü f2": b"2"})
    project.start_database()
    project.sql(MORE)


def states(project: Project) -> dict[str, str]:
    """The state of every container of the project, by service."""
    labelled = {"label": f"com.docker.compose.project={project.name}"}
    found = project.engine.api.containers(all=True, filters=labelled)
    return {each["Labels"]["com.docker.compose.service"]: each["State"] for each in found}


def recorded(project: Project) -> dict | None:
    path = path_of(project.folder)
    return json.loads(path.read_text()) if path.exists() else None


def backups(project: Project) -> list[str]:
    folder = project.folder / "backups"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def owctl(project: Project, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "owctl", "-C", str(project.folder), "-p", project.name]
    pipe = subprocess.PIPE
    return subprocess.Popen([*command, *words], stdout=pipe, stderr=pipe, text=True)


def finished(project: Project, *words: str) -> tuple[int, str, str]:
    """Run owctl to its end: exit code, stdout, and stderr as one line."""
    process = owctl(project, *words)
    stdout, stderr = process.communicate(timeout=120)
    return process.returncode, stdout, " ".join(stderr.split())


def wait_for_dump(project: Project, process: subprocess.Popen[str]) -> None:
    def begun() -> bool:
        assert process.poll() is None, process.communicate()
        dumps = (project.folder / "backups").glob("*.partial/postgres.dump.zst")
        return any(path.stat().st_size > 100_000 for path in dumps)

    wait_until(begun, "the dump is being written", timeout_seconds=60)


def history(project: Project) -> list[dict]:
    lines = Path(project.folder, ".owctl", "history.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]
