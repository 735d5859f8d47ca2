"""The manual's pages, made from the commands with nothing but click (hatch_build.py has no more)."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ONLY_CLICK = """
import sys, runpy
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "click", "owctl"}:
            raise ImportError(f"{name} is not there when a wheel is built")
sys.meta_path.insert(0, Nothing())
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("man")
    script = ROOT / "scripts" / "man_pages.py"
    code = f"import sys; sys.argv[1:] = [{str(script)!r}, {str(target)!r}]\n" + ONLY_CLICK
    code = code.replace("runpy.run_path(sys.argv[1]", "runpy.run_path(sys.argv.pop(1)")
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"SOURCE_DATE_EPOCH": "1738293300"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


def test_a_page_has_what_the_help_has(folder):
    text = (folder / "owctl-restore.1").read_text()
    assert '.TH OWCTL\\-RESTORE 1 2025-01-31 "owctl ' in text
    assert ".B owctl restore\n[OPTIONS] BACKUP... | COMMAND" in text
    assert "\\fB\\-y\\fR, \\fB\\-\\-yes\\fR\n" in text
    assert "\\fB\\-\\-identity\\fR \\fIFILE\\fR\n" in text
    assert ".EX\nowctl restore latest \\-\\-dry\\-run\n" in text
    assert "\\fBowctl\\-restore\\-undo\\fR(1)" in text
    assert ".TP\n\\fB130\\fR\ninterrupted\n" in text


def test_the_first_page_tells_of_the_surroundings(folder):
    text = (folder / "owctl.1").read_text()
    for word in ("COMPOSE_FILE", "DOCKER_HOST", ".owctl/history.jsonl", "owctl\\-health"):
        assert word in text


def test_another_name_of_a_command_is_in_its_page(folder):
    assert "owctl\\-start, owctl\\-up \\- Start" in (folder / "owctl-start.1").read_text()
