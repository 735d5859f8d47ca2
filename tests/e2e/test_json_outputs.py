"""The JSON of commands that can be asked of a running stack; `owctl` of conftest holds each to its schema.

Those of restore, migrate and their kin are held to theirs in the tests of those.
"""

import json
import select
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import OWCTL, Project, clean_environment
from tests.json_documents import check_document, check_output

pytestmark = pytest.mark.e2e

PATIENCE_SECONDS = 60
ASKED = [
    "start --dry-run",
    "stop --dry-run",
    "status",
    "health --deep",
    "doctor",
    "logs --tail 3",
    "history",
    "config",
    "setup --diff",
    "setup --sync-password --dry-run",
    "backup --dry-run",
    "backup list",
    "backup prune --keep-last 1 --dry-run",
    "backup schedule",
    "backup schedule --daily 02:00 --dry-run -- --keep-daily 7",
    "restore status",
    "export --list",
    "clean --dry-run",
]


@pytest.mark.timeout(600)
def test_what_a_running_stack_is_asked(demo_stack: Project, tmp_path: Path):
    made = json.loads(demo_stack.succeed("backup", "--only", "config", "--json").stdout)
    for line in ASKED:
        words, separator, more = line.partition(" -- ")
        demo_stack.succeed(
            *words.split(), "--json", *([separator.strip()] * bool(more)), *more.split()
        )
    place = tmp_path / "place"
    place.mkdir()
    for words in (
        ["push", str(place), made["id"]],
        ["pull", str(place)],
        ["pull", str(place), made["id"], "--output", str(tmp_path / "back")],
    ):
        demo_stack.succeed("backup", *words, "--json")
    manifest = json.loads((Path(made["path"]) / "manifest.json").read_text())
    verification = json.loads((Path(made["path"]) / "verification.json").read_text())
    check_document(manifest, "backup-manifest.json")
    check_document(verification, "backup-verification.json")


def test_a_round_of_the_watch(demo_stack: Project):
    arguments = ["health", "--watch", "--interval", "0.1", "--json"]
    with subprocess.Popen(
        [OWCTL, *arguments], cwd=demo_stack.directory, env=clean_environment(),
        stdout=subprocess.PIPE, text=True,
    ) as watching:  # fmt: skip
        try:
            assert watching.stdout is not None
            assert select.select([watching.stdout], [], [], PATIENCE_SECONDS)[0]
            check_output(arguments, watching.stdout.readline())
        finally:
            watching.terminate()
