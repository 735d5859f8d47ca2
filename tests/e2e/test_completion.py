"""Completion in real shells, on a terminal: what is typed, Tab, and what the shell then runs."""

import os
import pty
import re
import select
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import OWCTL, clean_environment
from tests.unit.needed_programs import program

pytestmark = pytest.mark.e2e

PATIENCE_SECONDS = 60
PROMPT = "ready> "
RAN = "<it ran>"
NEWEST, OLDER = "20250202T031500Z-9f3a1c", "20250131T031500Z-00ff00"
COMPOSE = "services:\n  {}:\n    image: x\n  rust-backend:\n    image: x\n"
# Where each shell looks for a script, as `owctl completion --help` says it.
PLACES = {
    "bash": "completion.bash",
    "zsh": "zfunc/_owctl",
    "fish": "config/fish/completions/owctl.fish",
}


def command_of(shell: str, folder: Path) -> list[str]:
    path = program(shell, shell)
    if shell == "bash":
        rc = folder / "bashrc"
        rc.write_text(f"PS1='{PROMPT}'\nbind 'set bell-style none'\n. {folder / PLACES['bash']}\n")
        return [path, "--noprofile", "--rcfile", str(rc), "-i"]
    if shell == "zsh":
        (folder / ".zshrc").write_text(
            f"PS1='{PROMPT}'\nfpath=({folder / 'zfunc'} $fpath)\nunsetopt beep\n"
            "autoload -Uz compinit && compinit -u -D\n"
        )
        return [path, "-i"]
    prompt = f"function fish_prompt; echo -n '{PROMPT}'; end; function fish_greeting; end"
    return [path, "-i", "-C", prompt]


class Shell:
    """An interactive shell. ``owctl`` is found on its PATH: it completes, and logs its calls."""

    def __init__(self, name: str, folder: Path, project: Path) -> None:
        self.log = folder / "calls"
        wrapper = folder / "bin" / "owctl"
        wrapper.parent.mkdir(parents=True)
        self.log.touch()
        wrapper.write_text(
            '#!/bin/sh\nif [ "$_OWCTL_COMPLETE" ]; then '
            f'exec {shlex.quote(str(OWCTL))} "$@"; fi\n'
            f'printf "%s\\n" "$*" >> {shlex.quote(str(self.log))}\necho "{RAN}"\n'
        )
        wrapper.chmod(0o755)
        script = folder / PLACES[name]
        script.parent.mkdir(parents=True, exist_ok=True)
        made = subprocess.run(
            [OWCTL, "completion", name], capture_output=True, text=True, check=True
        )
        script.write_text(made.stdout)
        environment = clean_environment(
            HOME=str(folder),
            ZDOTDIR=str(folder),
            XDG_CONFIG_HOME=str(folder / "config"),
            XDG_DATA_HOME=str(folder / "data"),
            PATH=f"{wrapper.parent}:{os.environ['PATH']}",
            TERM="xterm",
            LC_ALL="C.UTF-8",
        )
        self.terminal, inside = pty.openpty()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command_of(name, folder)], cwd=project, env=environment,
            stdin=inside, stdout=inside, stderr=inside,
        )  # fmt: skip
        os.close(inside)
        self.screen = ""
        try:
            self.wait_for(PROMPT)
        except BaseException:
            self.close()
            raise

    def wait_for(self, *texts: str, then: str = "") -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not all(
            text in self.screen and then in self.screen.partition(text)[2] for text in texts
        ):
            assert time.monotonic() < deadline, f"{texts} not in {self.screen!r}"
            if select.select([self.terminal], [], [], 1)[0]:
                data = os.read(self.terminal, 65536).decode(errors="replace")
                # Colours and movements of the cursor, and how the terminal is set up.
                self.screen += re.sub(r"\x1b(\[[0-9;?<=>]*[A-Za-z]|[()][A-B0]|[=>])", "", data)

    def run(self, typed: str) -> str:
        """Type a line with Tabs in it, and Enter; returns the words that owctl was called with."""
        self.screen = ""
        os.write(self.terminal, f"{typed}\n".encode())
        # What is typed before the next prompt is not the line editor's yet, nor are its Tabs.
        self.wait_for(RAN, then=PROMPT)
        return " ".join(self.log.read_text().splitlines()[-1].split())

    def close(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)
        os.close(self.terminal)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name in (NEWEST, OLDER):
        (folder / "backups" / name).mkdir(parents=True)
    (folder / "compose.yaml").write_text(COMPOSE.format("web-server"))
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "compose.yaml").write_text(COMPOSE.format("worker"))
    (folder / "broken").mkdir()
    (folder / "broken" / "compose.yaml").write_text("services: [\n")
    return folder


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request: pytest.FixtureRequest, tmp_path: Path, project: Path) -> Iterator[Shell]:
    found = Shell(request.param, tmp_path / "home", project)
    try:
        yield found
    finally:
        found.close()


def test_completion_in_a_shell(shell: Shell):
    # A command, an option, its value behind a space and behind the sign.
    assert shell.run("owctl hist\t") == "history"
    assert shell.run("owctl status --form\tjson") == "status --format json"
    assert shell.run("owctl status --format j\t") == "status --format json"
    assert shell.run("owctl status --format=j\t") == "status --format=json"
    assert shell.run("owctl backup verify --dri\t") == "backup verify --drill"
    assert shell.run("owctl backup --quies\t") == "backup --quiesce"
    # Services and their short names, each once; those of the folder that -C names.
    assert shell.run("owctl logs rust\t") == "logs rust-backend"
    assert shell.run("owctl logs back\t") == "logs backend"
    assert shell.run("owctl stop rust-backend we\t") == "stop rust-backend web-server"
    assert shell.run("owctl -C elsewhere logs wo\t") == "-C elsewhere logs worker"
    assert shell.run("owctl -C else\t status").replace("/ ", " ") == "-C elsewhere status"
    # Backups.
    assert shell.run("owctl backup verify 202502\t") == f"backup verify {NEWEST}"
    assert shell.run("owctl restore --dry-run 202501\t") == f"restore --dry-run {OLDER}"
    assert shell.run("owctl restore und\t") == "restore undo"
    # Several fit: they are shown, at the second Tab at the latest.
    shell.screen = ""
    os.write(shell.terminal, b"owctl restore \t\t")
    shell.wait_for("latest", NEWEST, OLDER, "undo", "finish")


def test_a_broken_project_leaves_the_prompt_alone(shell: Shell):
    assert shell.run("owctl -C broken logs wo\trker") == "-C broken logs worker"
    assert shell.run("owctl -C no-such-folder logs wo\trker") == "-C no-such-folder logs worker"
    assert shell.run("owctl no-such-command wo\trker") == "no-such-command worker"
    assert not re.search("Error|Try:|Traceback|Warning", shell.screen)
