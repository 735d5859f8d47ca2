"""``owctl clean`` on a real stack: the data survives --keep-volumes, and is in the backup otherwise."""

import pytest

from tests.e2e.conftest import Project

pytestmark = pytest.mark.e2e
QUERY = "SELECT note FROM clean_test"


def ask(project: Project, statement: str) -> str:
    return project.succeed("shell", "db", "psql", "-X", "-A", "-t", "-c", statement).stdout.strip()


def test_data_is_kept_or_backed_up(own_stack: Project):
    own_stack.succeed("start", timeout_seconds=900)
    ask(own_stack, "CREATE TABLE clean_test (note text); INSERT INTO clean_test VALUES ('here')")
    own_stack.succeed("clean", "--yes", "--keep-volumes")
    assert {row["state"] for row in own_stack.status().values()} == {"missing"}
    own_stack.succeed("start")
    assert ask(own_stack, QUERY) == "here"

    cleaned = own_stack.succeed("clean", "--yes", "--backup")
    (folder,) = (own_stack.directory / "backups").iterdir()
    assert folder.name in cleaned.stderr
    assert "backups/ (1 backup)" in cleaned.stderr
    assert '"status": "ok"' in (folder / "verification.json").read_text()
    assert (own_stack.directory / ".env").exists()
    own_stack.succeed("start")
    gone = own_stack.owctl("shell", "db", "psql", "-X", "-c", QUERY)
    assert gone.returncode != 0
    assert "does not exist" in gone.stderr
