"""``owctl top`` on a real terminal, with small containers: what it draws, does and leaves behind."""

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import remove_everything
from engine_helpers import inspected, run

from owctl.compose.model import Attachment, Network, Service, Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import Container, remove_container
from tests.screen import Screen

pytestmark = pytest.mark.engine

OWCTL = [sys.executable, "-m", "owctl"]
SECRET = "correct-horse-battery-staple-1234567"
# A title, another screen, hidden text, a secret cut in two by a colour, and bytes that are no text.
HOSTILE = (
    r"printf '\033]0;owned\007\033[?1049l\033[2J\033[8mhidden\033[0m \377\376 password '"
    r'"${SECRET:0:9}"' + r"'\033[31m'" + r'"${SECRET:9}"' + r"' ends\n'; "
)


SERVICES = ("web", "worker", "guest")


@dataclass
class Place:
    """A folder with a compose file, and the stack that it describes; "guest" does not run."""

    folder: Path
    stack: Stack
    containers: dict[str, Container]


@pytest.fixture(scope="module")
def place(
    engine: Engine, base_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    project = f"owctl-test-{secrets.token_hex(4)}"
    folder = tmp_path_factory.mktemp("top")
    (folder / ".env").write_text(f"SECRET={SECRET}\n")
    services = "".join(
        f"  {name}:\n    image: {base_image}\n    environment:\n      SECRET: ${{SECRET}}\n"
        for name in SERVICES
    )
    (folder / "compose.yaml").write_text(f"name: {project}\nservices:\n{services}")
    scripts = {
        "web": HOSTILE + "echo web line 1; echo web line 2; sleep 3600",
        "worker": "echo worker is up; sleep 3600",
        "guest": "sleep 99",
    }
    made = {
        name: Service(
            name=name,
            image=base_image,
            command=("bash", "-c", script),
            init=True,
            environment={"SECRET": SECRET},
            attachments=(Attachment("default"),),
            stop_grace_period_seconds=1.0,
        )
        for name, script in scripts.items()
    }
    networks = {"default": Network(key="default", name=f"{project}_default")}
    files = (folder / "compose.yaml",)
    stack = Stack(
        project=project, working_dir=folder, config_files=files, environment_files=(),
        services=made, networks=networks, volumes={},
    )  # fmt: skip
    try:
        yield Place(folder, stack, {name: run(engine, stack, made[name]) for name in SERVICES[:2]})
    finally:
        remove_everything(engine, project)


@pytest.fixture
def screen(place: Place) -> Iterator[Screen]:
    with Screen([*OWCTL, "top"], place.folder) as opened:
        opened.see("web line", "worker is up", "2 of 3", "0.0%")
        yield opened


def test_what_is_seen_and_what_the_keys_do(screen, place, engine):
    worker = place.containers["worker"]
    assert re.search(r"  \d\d:\d\d:\d\d$", screen.lines[0])
    assert screen.lines[1].split()[:4] == ["SERVICE", "HEALTH", "CPU", "MEMORY"]
    assert [line.split()[:2] for line in screen.lines[2:5]] == [
        ["web", "healthy"],
        ["worker", "healthy"],
        ["guest", "missing"],
    ]
    assert screen.lines[-1].startswith("↑↓ select")
    assert screen.reversed_lines() == [screen.lines[2]]
    assert b"\x1b]0;" not in screen.written
    assert b"owned" not in screen.written
    assert SECRET.encode() not in screen.written
    screen.see("hidden", "password *** ends")

    screen.type("\x1b[B")
    screen.wait_until(lambda: screen.reversed_lines() == [screen.lines[3]], "the second row")

    screen.type("/web line 1\r")
    screen.see('newest log lines with "web line 1"')
    screen.wait_until(lambda: "worker is up" not in screen.text, "only lines with that text")
    screen.type("\x1b")
    screen.see("worker is up")

    screen.type("l")
    screen.see("── log of worker ──", "l back")
    screen.wait_until(lambda: "web line" not in screen.text, "only that service's lines")
    screen.type("l")
    screen.see("SERVICE", "web line")

    screen.type("?")
    screen.see("restart the selected service")
    screen.type("x")
    screen.see("SERVICE")

    screen.type("r")
    screen.see("Restart worker? y/n")
    screen.type("n")
    screen.see("Not restarted.")
    assert inspected(engine, worker.id).started_at == worker.started_at
    screen.type("r")
    screen.see("Restart worker? y/n")
    screen.type("y")
    screen.see("worker was restarted in")
    assert inspected(engine, worker.id).started_at != worker.started_at
    history = subprocess.run(
        [*OWCTL, "history", "--json"], cwd=place.folder, capture_output=True, text=True, check=True
    )
    (entry,) = json.loads(history.stdout)["entries"]
    assert (entry["command"], entry["outcome"]) == ("restart", "done")

    screen.type("q")
    assert screen.exit_code() == 0
    assert screen.is_restored()


def test_a_shell_has_the_terminal_and_gives_it_back(screen):
    screen.type("\x1b[Bs")
    screen.see("exit or Ctrl-D leads back")
    screen.wait_until(lambda: screen.text.rstrip().endswith("#"), "a prompt")
    # Ctrl-C there is the shell's.
    screen.type("\x03")
    # A bash that is told its window's size at that very moment may forget the signal: it shows ^C,
    # and waits. A person presses it once more.
    with contextlib.suppress(AssertionError):
        screen.wait_until(lambda: screen.text.count("/#") > 1, "another prompt", 10)
    if screen.text.count("/#") == 1:
        screen.see("^C")
        screen.type("\x03")
    screen.wait_until(lambda: screen.text.count("/#") > 1, "another prompt")
    screen.type("echo $((6 * 7))$((6 * 7)); stty size\r")
    screen.see("4242", "24 80")
    screen.type("exit\r")
    screen.see("SERVICE", "↑↓ select")
    screen.wait_until(lambda: "4242" not in screen.text, "its own screen again")
    screen.type("q")
    assert screen.exit_code() == 0
    assert screen.is_restored()


def test_any_size_and_a_container_that_comes_and_goes(screen, place, engine):
    screen.resize(200, 50)
    screen.wait_until(lambda: screen.lines[49].startswith("↑↓ select"), "50 lines")
    screen.see("LIMIT")
    screen.resize(40, 10)
    screen.wait_until(lambda: screen.lines[9].startswith("↑↓ select"), "10 lines")
    screen.see("web line")
    screen.resize(80, 24)
    screen.wait_until(lambda: screen.lines[23].startswith("↑↓ select"), "24 lines")

    guest = run(engine, place.stack, place.stack.services["guest"])
    screen.wait_until(lambda: screen.lines[4].split()[:2] == ["guest", "healthy"], "it came")
    remove_container(engine, guest.id, force=True)
    screen.wait_until(lambda: screen.lines[4].split()[:2] == ["guest", "missing"], "it is gone")
    screen.type("\x1b[B\x1b[Bs")
    screen.see("guest is not running")
    screen.type("r")
    screen.see("Restart guest? y/n")
    screen.type("y")
    screen.see("guest cannot be restarted: not started yet. Try: owctl start guest")


def test_stopped_by_ctrl_z_and_continued(screen):
    screen.type("\x1a")
    screen.wait_until(lambda: state_of(screen.pid) == "T", "it has stopped")
    screen.wait_until(screen.is_restored, "the terminal is as the shell expects it")
    os.kill(screen.pid, signal.SIGCONT)
    screen.wait_until(lambda: not screen.is_restored(), "it has its screen again")
    screen.see("SERVICE", "web line")
    screen.type("q")
    assert screen.exit_code() == 0
    assert screen.is_restored()


@pytest.mark.parametrize("way", ["\x03", signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_every_way_out_leaves_the_terminal_as_it_was(screen, way):
    assert not screen.is_restored()
    assert not termios.tcgetattr(screen.descriptor)[3] & termios.ECHO
    if isinstance(way, str):
        screen.type(way)
    else:
        os.kill(screen.pid, way)
    assert screen.exit_code() == 130
    assert screen.is_restored()
    assert "Traceback" not in screen.written.decode("utf-8", "replace")


@pytest.mark.parametrize(
    "broken",
    [
        "from owctl.commands.top.feeds import Feeds as broken; name = '_ask_health'",
        "from owctl.ui.top_screen import TopScreen as broken; name = 'lines'",
    ],
    ids=["in a thread", "while drawing"],
)
def test_an_error_that_nobody_knows_leaves_the_terminal_as_it_was(place, broken):
    code = f"{broken}; setattr(broken, name, lambda *_: 1 / 0); from owctl.cli import main; main()"
    with Screen([sys.executable, "-c", code, "top"], place.folder) as opened:
        assert opened.exit_code() == 1
        assert opened.is_restored()
        assert "owctl met an error that it does not know: ZeroDivisionError" in opened.text


def test_an_engine_that_cannot_be_reached_is_an_error_before_anything_is_drawn(place):
    environment = {**os.environ, "DOCKER_HOST": "unix:///nowhere/docker.sock"}
    with Screen([*OWCTL, "top"], place.folder, environment=environment) as opened:
        assert opened.exit_code() == 5
        assert "Try:" in opened.text
        assert b"\x1b[?1049h" not in opened.written


@pytest.mark.parametrize(("environment", "terminal"), [({}, False), ({"TERM": "dumb"}, True)])
def test_without_a_usable_terminal_it_refuses(place, environment, terminal):
    reader, writer = os.openpty() if terminal else (None, subprocess.PIPE)
    result = subprocess.run(
        [*OWCTL, "top"],
        cwd=place.folder,
        env={**os.environ, **environment},
        stdin=writer if terminal else subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    if reader is not None:
        os.close(reader)
        os.close(writer)
    assert result.returncode == 2
    assert "owctl top draws on a whole terminal" in result.stderr
    assert "Try: owctl stats --no-stream" in result.stderr


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
