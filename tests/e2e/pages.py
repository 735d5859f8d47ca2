"""Pages of documentation that are run: their ```console blocks, one command after the other.

A line that begins with "$ " is a command; the lines up to the next one are what the page promises to
be seen, each somewhere in the output ("…" stands for any text). "# exit code N" behind a command
says how it ends, if not with 0.
"""

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.conftest import OWCTL, ROOT, clean_environment

_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_EXIT_CODE = re.compile(r"\s+# exit code (\d+)\b.*$")
_COMMENT = re.compile(r"\s{2,}# .*$")


@dataclass
class Command:
    """A command line of a page, its promised exit code and the lines that it promises."""

    line: str
    exit_code: int = 0
    promises: list[str] = field(default_factory=list)


def read_blocks(page: str | Path) -> list[list[Command]]:
    """Return the commands of a page's ```console blocks, block by block."""
    text = (ROOT / page).read_text()
    return [_read(block) for block in _BLOCK.findall(text)]


def read_commands(page: str | Path) -> list[Command]:
    """Return all commands of a page, in order."""
    return [command for block in read_blocks(page) for command in block]


def _read(block: str) -> list[Command]:
    commands: list[Command] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            code = _EXIT_CODE.search(line)
            plain = _COMMENT.sub("", _EXIT_CODE.sub("", line.removeprefix("$ ")))
            commands.append(Command(plain, int(code[1]) if code else 0))
        elif line.strip():
            commands[-1].promises.append(line.strip())
    return commands


def replaced(text: str, words: Mapping[str, str]) -> str:
    """Return the text with each word of the page in place of what it is in the test."""
    for word, value in words.items():
        text = re.sub(rf"(?<![\w.]){re.escape(word)}(?!\w)", lambda _, v=value: v, text)
    return text


def run_command(
    command: Command,
    folder: Path,
    words: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run one command of a page, hold it to what the page says, and return its output."""
    path = f"{OWCTL.parent}{os.pathsep}{os.environ['PATH']}"
    line = replaced(command.line, words or {})
    result = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=clean_environment(PATH=path) | dict(environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    shown = f"$ {line}\n{result.stdout}"
    assert result.returncode == command.exit_code, f"exit code {result.returncode}\n{shown}"
    lines = [" ".join(each.split()) for each in result.stdout.splitlines()]
    for promise in command.promises:
        pattern = re.compile(_pattern(replaced(promise, words or {})))
        assert any(pattern.search(each) for each in lines), f"{promise!r} is not seen\n{shown}"
    return result.stdout


def _pattern(promise: str) -> str:
    pieces = " ".join(promise.split()).split("…")
    return ".*".join(re.escape(piece.strip()) for piece in pieces)


Hook = Callable[[], object]


def run_page(
    page: str | Path,
    folder: Path,
    words: Mapping[str, str] | None = None,
    *,
    before: Mapping[str, Hook] | None = None,
    environment: Mapping[str, str] | None = None,
    folders: Mapping[str, Path] | None = None,
) -> dict[str, str]:
    """Run every command of a page in order; return what each printed, by its line.

    ``before`` are things to happen before a command, where it first stands; ``folders`` say from which
    command on another folder is the current one. Both name commands by their lines on the page.
    """
    commands = read_commands(page)
    known = {command.line for command in commands}
    unknown = {*(before or {}), *(folders or {})} - known
    assert not unknown, f"the page does not have {unknown}"
    outputs: dict[str, str] = {}
    waiting = dict(before or {})
    for command in commands:
        folder = (folders or {}).get(command.line, folder)
        waiting.pop(command.line, lambda: None)()
        outputs[command.line] = run_command(command, folder, words, environment)
    return outputs
