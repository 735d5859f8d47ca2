"""Every command line that README shows is run."""

import re

import pytest

from tests.e2e.conftest import ROOT, Project
from tests.e2e.pages import read_blocks, run_command

README = (ROOT / "README.md").read_text()
# Indented lines are run elsewhere: each names the file whose test does so.
ELSEWHERE = {
    "make demo": "tests/e2e/test_make_demo.py",
    "make test": ".ci/run",
    "pipx install .": "tests/e2e/test_wheel.py",
    "owctl -f compose.yaml -f compose.scale.yaml start --scale backend=3": (
        "tests/e2e/test_scale_and_change.py"
    ),
    "owctl restore latest": "tests/e2e/test_restore.py",
    "owctl restore finish": "tests/e2e/test_restore.py",
    "owctl restore undo": "tests/e2e/test_restore.py",
    "owctl upgrade": "tests/e2e/test_upgrade.py",
    "owctl rollback": "tests/e2e/test_upgrade.py",
    "owctl migrate --from-container open-webui --dry-run": "tests/e2e/test_migrate_command.py",
    "owctl migrate --from-container open-webui": "tests/e2e/test_migrate_command.py",
    "owctl migrate rollback": "tests/e2e/test_migrate_command.py",
}


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_every_command_of_the_readme_succeeds(own_stack: Project):
    count = 0
    for block in read_blocks("README.md"):
        own_stack.succeed("start", timeout_seconds=900)
        for command in block:
            run_command(command, own_stack.directory)
            count += 1
    assert count >= 12


def test_the_other_commands_of_the_readme_are_run_by_the_tests_named_here():
    shown = re.findall(r"^    (\S.*?)(?:\s{2,}#.*)?$", README, re.MULTILINE)
    assert set(shown) == set(ELSEWHERE)
    for command, path in ELSEWHERE.items():
        text = (ROOT / path).read_text()
        # The tests name things in lists of words: the options, else the last word, tell the command.
        words = command.split()
        options = [word for word in words if word.startswith("--")] or words[-1:]
        assert command.removeprefix("pipx ") in text or all(word in text for word in options)
