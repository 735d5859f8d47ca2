"""`make demo` in a fresh copy of the checkout, a second time, and `make demo-down`."""

import json
import secrets
import shutil
import subprocess
from pathlib import Path

import docker
import pytest

from tests.e2e.conftest import PROJECT_LABEL, ROOT, clean_environment, remove_project

pytestmark = pytest.mark.e2e

NOT_COPIED = (
    ".venv",
    ".demo",
    ".git",
    ".cache",
    "*_cache",
    "__pycache__",
    ".coverage*",
    ".hypothesis",
    "dist",
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The checkout as a fresh clone has it."""
    folder = tmp_path / "owctl"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_COPIED))
    return folder


# It makes a Python environment of its own, from packages that may have to be fetched.
@pytest.mark.timeout(900)
def test_make_demo_twice_and_down_again(copy: Path, demo_stack):
    project = f"owctl-test-{secrets.token_hex(4)}"
    environment = clean_environment(OWCTL_DEMO_PROJECT=project, OWCTL_DEMO_KEEP_IMAGES="1")

    def make(target: str) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            ["make", target],
            cwd=copy,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result

    client = docker.from_env()
    try:
        first = make("demo")
        assert "The demonstration runs" in first.stderr
        assert "make demo-down" in first.stderr
        backups = [path for path in (copy / ".demo" / "backups").iterdir() if path.is_dir()]
        assert len(backups) == 1
        assert json.loads((backups[0] / "manifest.json").read_text())["schema"] == 1

        again = make("demo")
        assert "already running" in again.stderr

        make("demo-down")
        assert not (copy / ".demo").exists()
        filters = {"label": f"{PROJECT_LABEL}={project}"}
        assert client.containers.list(all=True, filters=filters) == []
        assert client.volumes.list(filters=filters) == []
        assert client.networks.list(filters=filters) == []
    finally:
        client.close()
        remove_project(project)


def test_make_help_lists_the_targets(copy: Path):
    result = subprocess.run(["make"], cwd=copy, capture_output=True, text=True, check=True)
    for target in ("demo", "demo-down", "test", "lint", "unit"):
        assert f"  {target} " in result.stdout
