"""The bench brings its rival, measures on a real engine and leaves nothing behind."""

import subprocess
from pathlib import Path

import docker
import pytest

ROOT = Path(__file__).resolve().parents[2]
LABEL = "io.owctl.bench"

pytestmark = pytest.mark.engine


def left_behind() -> set[str]:
    client = docker.from_env()
    try:
        found = client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
        found += client.networks.list(filters={"label": LABEL})
        found += client.volumes.list(filters={"label": LABEL})
        return {str(each.id) for each in found}
    finally:
        client.close()


@pytest.mark.timeout(300)
def test_one_round_of_the_quick_measures(tmp_path: Path):
    before = left_behind()
    page = tmp_path / "benchmarks.md"
    result = subprocess.run(
        [ROOT / "scripts" / "bench", "help", "status", "--rounds", "1", "--output", page],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    table = result.stdout.splitlines()
    assert [line.split("**")[1] for line in table[2:]] == ["help", "status"]
    assert "`docker compose ps` | 1 |" in page.read_text()
    assert not left_behind() - before
