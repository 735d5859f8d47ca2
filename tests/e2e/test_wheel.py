"""`pipx install .`: the wheel works outside a checkout, with what `setup` writes inside it."""

import re
import secrets
import stat
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.command_tree import contexts
from tests.e2e.conftest import ROOT, clean_environment
from tests.unit.needed_programs import program

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The owctl script of a fresh environment into which `pip install .` has put the wheel.

    The dependencies are taken from the environment of the tests, so that nothing is downloaded.
    """
    folder = tmp_path_factory.mktemp("install")
    built = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = folder.glob("owctl-*.whl")
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    (site,) = environment.glob("lib/python3*/site-packages")
    own = Path(sys.executable).parent.parent
    (dependencies,) = own.glob("lib/python3*/site-packages")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel],
        check=True,
        env=clean_environment(PIP_DISABLE_PIP_VERSION_CHECK="1"),
    )
    # After the wheel's own folder on the path, and without the checkout that .venv links to.
    (site / "dependencies.pth").write_text(f"import sys; sys.path.append({str(dependencies)!r})\n")
    return environment / "bin" / "owctl"


def test_the_wheel_carries_what_setup_writes(installed: Path, tmp_path: Path):
    where = subprocess.run(
        [installed.parent / "python", "-c", "import owctl; print(owctl.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(installed.parent.parent) in where.stdout
    result = subprocess.run(
        [installed, "setup"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "compose.yaml").read_bytes() == (
        ROOT / "compose" / "compose.yaml"
    ).read_bytes()
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    checked = subprocess.run(
        [installed, "config", "--validate"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_the_demonstration_can_be_set_up_from_the_wheel(installed: Path, tmp_path: Path):
    result = subprocess.run(
        [installed, "-p", f"owctl-test-{secrets.token_hex(4)}", "setup", "--demo"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "demo" / "postgres" / "Dockerfile").is_file()


def test_the_manual_comes_with_the_wheel(installed: Path):
    folder = installed.parent.parent / "share" / "man" / "man1"
    pages = {path.name for path in folder.iterdir()}
    # A group's page also says what its default does.
    named = [context for context in contexts() if context.info_name != default_of(context.parent)]
    assert pages == {f"{context.command_path.replace(' ', '-')}.1" for context in named}
    for section in ("NAME", "SYNOPSIS", "OPTIONS", "EXAMPLES", "EXIT STATUS", "SEE ALSO"):
        assert [
            page for page in pages if f".SH {section}\n" not in (folder / page).read_text()
        ] == []
    lint = subprocess.run(
        [program("mandoc", "mandoc"), "-Tlint", "-Wwarning", *sorted(folder.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (lint.returncode, lint.stdout) == (0, "")
    shown = subprocess.run(
        [program("mandoc", "mandoc"), "-Tascii", folder / "owctl-backup-verify.1"],
        capture_output=True,
        text=True,
        check=True,
    )
    text = re.sub(".\b", "", shown.stdout)
    assert "owctl backup verify [OPTIONS] [ID]" in text
    assert "--drill" in text
    assert "owctl backup verify 20250131 --drill" in text


def default_of(context: click.Context | None) -> str | None:
    return None if context is None else getattr(context.command, "default", None)
