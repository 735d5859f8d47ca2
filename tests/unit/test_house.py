"""The house's own rules: small files, documented commands, nothing that ties it to one machine."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from owctl.cli import ALIASES, COMMANDS

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "owctl").rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_small_and_says_what_it_is_for(path: Path):
    text = path.read_text()
    assert len(text.splitlines()) <= 420
    assert ast.get_docstring(ast.parse(text)), "no module docstring"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_help_that_the_table_shows(name: str):
    module, _, line = COMMANDS[name]
    command = getattr(importlib.import_module(f"owctl.commands.{module}"), name)
    assert command.help is not None
    assert command.help.strip().splitlines()[0].strip() == line


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_stands_in_the_readme(name: str):
    assert re.search(rf"owctl (-q )?{name}\b", (ROOT / "README.md").read_text())


def test_aliases_name_commands():
    assert set(ALIASES.values()) <= set(COMMANDS)
    assert not set(ALIASES) & set(COMMANDS)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from owctl.cli import run; run(['--help']);"
        "heavy = {'docker', 'httpx', 'pydantic', 'rich', 'yaml', 'zstandard', 'requests'};"
        "heavy |= {'pyrage', 'fsspec', 's3fs', 'paramiko', 'argon2', 'psycopg'};"
        "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_httpx_is_loaded_when_something_is_asked_over_http_and_not_before():
    """No module loads it with itself: so neither does a command that asks nobody."""
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in SOURCES]
    names = [name for name in names if not name.endswith(("__main__", "owctl.http_client"))]
    code = (
        f"import importlib, sys; [importlib.import_module(name) for name in {names}];"
        "assert 'owctl.http_client' not in sys.modules; assert 'httpx' not in sys.modules;"
        "before = set(sys.modules); import owctl.http_client;"
        "unused = {'rich', 'pygments', 'anyio', 'trio'} - before;"
        "assert not unused & set(sys.modules), unused & set(sys.modules);"
        "import anyio, httpx; assert httpx.AsyncClient"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_docker_is_loaded_without_paramiko():
    """It takes as long to load as docker-py itself, and only copies over SFTP need it."""
    code = (
        "import sys; from owctl.engine.connection import import_docker; import_docker();"
        "assert 'paramiko' not in sys.modules; assert 'docker.transport.sshconn' not in sys.modules;"
        "import_docker(); import docker, paramiko; docker.APIClient, paramiko.SSHClient"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "page", ["README.md", *(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))]
)
def test_links_lead_somewhere(page: str):
    path = ROOT / page
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
        if not link.startswith("http"):
            assert (path.parent / link).exists(), f"{page}: {link}"


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
# Files to open beside the twelve of the way in and the frame; for restore also what comes afterwards.
LONGEST_FLOWS = {"start": 18, "restore": 26}


def flow(name: str) -> list[str]:
    section = ARCHITECTURE.split(f"\n### {name}\n", 1)[1].split("\n#", 1)[0]
    return re.findall(r"`([a-z_/]+\.py)`", section)


def test_the_architecture_names_files_that_are_there():
    flows = ARCHITECTURE.split("## The flows", 1)[1].split("## Three ideas", 1)[0]
    named = set(re.findall(r"`([a-z_/]+\.py)`", flows))
    assert len(named) > 80
    assert not [path for path in named if not (ROOT / "owctl" / path).is_file()]
    table = ARCHITECTURE.split("## The rooms", 1)[1].split("## The flows", 1)[0]
    rooms = re.findall(r"^\| `([a-z_.]+)/?` \|(.*)\|$", table, re.MULTILINE)
    assert len(rooms) > 20
    for room, row in rooms:
        for path in re.findall(r"`([a-z_/]+\.py)`", row.rsplit("|", 1)[1]):
            assert (ROOT / "owctl" / room / path).is_file(), f"{room}: {path}"


@pytest.mark.parametrize("name", LONGEST_FLOWS)
def test_a_flow_is_read_in_one_sitting(name: str):
    assert 10 < len(set(flow(name))) <= LONGEST_FLOWS[name]


def test_what_is_said_to_be_tried_has_its_test():
    """The reliability page names a test, or a file of tests, for each thing that was found elsewhere."""
    page = (ROOT / "docs" / "reliability.md").read_text()
    _, _, section = page.partition("## Found elsewhere, tried here")
    named = {name.rstrip("…") for name in re.findall(r"`(test_\w+…?)`", section)}
    assert len(named) > 30
    files = list((ROOT / "tests").rglob("test_*.py"))
    known = {path.stem for path in files}
    known |= {name for path in files for name in re.findall(r"def (test_\w+)", path.read_text())}
    assert not {name for name in named if not any(each.startswith(name) for each in known)}
