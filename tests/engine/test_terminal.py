"""``owctl shell`` on a real terminal."""

import hashlib
import os
import shlex
import signal
import subprocess
import termios
from pathlib import Path

import pytest
from engine_helpers import wait_until
from typed_terminal import COMMAND, terminal

from owctl.engine.connection import Engine
from owctl.engine.containers import Container

pytestmark = pytest.mark.engine


def test_a_shell_with_a_terminal(container: Container, folder: Path):
    with terminal(folder, "web") as shown:
        shown.expect("# ")
        shown.type("tty; echo $((6 * 7)) $0\r")
        shown.expect("/dev/pts/")
        shown.expect("42 bash")
        shown.type("exit 3\r")
        assert shown.exit_code() == 3
        assert termios.tcgetattr(shown.descriptor) == shown.settings


def test_the_windows_size_travels(container: Container, folder: Path):
    script = "while :; do stty size; sleep 0.1; done"
    with terminal(folder, "web", "sh", "-c", script) as shown:
        shown.expect("31 97")
        shown.set_size(44, 120)
        shown.expect("44 120")


def test_ctrl_c_goes_to_the_command(container: Container, folder: Path):
    script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done"
    with terminal(folder, "web", "bash", "-c", script) as shown:
        shown.expect("ready")
        shown.type("\x03")
        shown.expect("caught")
        assert shown.exit_code() == 9


def test_ctrl_p_is_not_swallowed(container: Container, folder: Path):
    # The engine's own detach keys begin with it.
    with terminal(
        folder, "web", "sh", "-c", "stty raw -echo; echo ready; head -c1 | od -c"
    ) as shown:
        shown.expect("ready")
        shown.type("\x10")
        shown.expect("020")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_the_terminal_is_restored_when_owctl_is_ended(
    container: Container, folder: Path, number: signal.Signals
):
    with terminal(folder, "web", "sh", "-c", "echo ready; sleep 60") as shown:
        shown.expect("ready")
        assert termios.tcgetattr(shown.descriptor) != shown.settings
        os.kill(shown.pid, number)
        # What Python does not handle itself kills as it would any program.
        assert shown.exit_code() == (130 if number != signal.SIGQUIT else -number)
        assert termios.tcgetattr(shown.descriptor) == shown.settings


def test_the_terminal_is_restored_when_the_container_dies(
    engine: Engine, container: Container, folder: Path
):
    with terminal(folder, "web", "sh", "-c", "echo ready; sleep 60") as shown:
        shown.expect("ready")
        engine.api.kill(container.id)
        assert shown.exit_code() not in (0, 125)
        assert termios.tcgetattr(shown.descriptor) == shown.settings


def test_no_terminal_on_request(container: Container, folder: Path):
    with terminal(folder, "-T", "web", "sh", "-c", "tty; exit 6") as shown:
        shown.expect("not a tty")
        assert shown.exit_code() == 6


def test_ctrl_c_without_a_terminal_ends_owctl(container: Container, folder: Path):
    with terminal(folder, "-T", "web", "sh", "-c", "echo ready; sleep 60") as shown:
        shown.expect("ready")
        shown.type("\x03")
        assert shown.exit_code() == 130


def test_keys_that_mean_something_to_a_terminal_are_the_shells(container: Container, folder: Path):
    with terminal(folder, "web", "bash", "--norc") as shown:
        shown.expect("# ")
        shown.type("sleep 600\r")
        wait_until(lambda: "S+" in state_of(container, "sleep 600"), "it sleeps")
        shown.type("\x1a")  # Ctrl-Z stops the command in the container
        shown.expect("Stopped")
        shown.expect("# ")
        shown.type("fg\r")
        wait_until(lambda: "S+" in state_of(container, "sleep 600"), "it sleeps again")
        shown.type("\x03")
        wait_until(lambda: not state_of(container, "sleep 600"), "it has been interrupted")
        shown.expect("# ")
        shown.type("echo größe ✓ 漢字 | tr a-z A-Z; stty -a | grep -o utf8\r")
        shown.expect("GRößE ✓ 漢字")
        shown.expect("# ")
        shown.type("(exit 7)\r")
        shown.expect("# ")
        shown.type("\x04")  # Ctrl-D ends the shell with the last code
        assert shown.exit_code() == 7
        assert termios.tcgetattr(shown.descriptor) == shown.settings


def state_of(container: Container, words: str) -> str:
    """What ps says of a process in the container, "S+" in the foreground; empty if there is none."""
    called = ["docker", "top", container.id, "-eo", "pid,stat,args"]
    listed = subprocess.run(called, capture_output=True, text=True, check=True).stdout
    lines = (line.split(None, 2) for line in listed.splitlines())
    return next((state for _, state, command in lines if command == words), "")


def test_a_large_paste_arrives_whole(container: Container, folder: Path):
    lines = [f"{number:06d} größe ✓ {'x' * 60}" for number in range(1300)]
    text = "\n".join(lines) + "\n"
    assert len(text.encode()) > 100_000
    script = f"stty -echo; echo ready; head -c {len(text.encode())} | md5sum; stty echo"
    with terminal(folder, "web", "sh", "-c", script) as shown:
        shown.expect("ready")
        shown.type(text)
        shown.expect(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest())
        assert shown.exit_code() == 0


def test_stopped_from_elsewhere_and_gone_on(container: Container, folder: Path):
    owctl = shlex.join([*COMMAND, "web", "sh", "-c", "echo ready; read x; stty size; echo got $x"])
    # Job control stops owctl as a command of a user's shell, which then looks at the terminal.
    script = f"set -m; {owctl}; echo stopped; stty -a; read y; fg; stty -a"
    with terminal(folder, "-c", script, command=["bash"]) as shown:
        shown.expect("ready")
        os.kill(child_of(shown.pid), signal.SIGTSTP)
        shown.expect("stopped")
        shown.expect(" icanon ")
        shown.set_size(20, 66)
        shown.type("\r")
        wait_until(lambda: not has_flag(shown.descriptor, termios.ICANON), "it is raw again")
        shown.type("on\r")
        shown.expect("20 66")
        shown.expect("got on")
        shown.expect(" icanon ")


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def has_flag(descriptor: int, flag: int) -> bool:
    return bool(termios.tcgetattr(descriptor)[3] & flag)


def test_a_stopped_container_is_started_if_the_user_wants(
    engine: Engine, container: Container, folder: Path
):
    (folder / "compose.yaml").write_text(
        (folder / "compose.yaml")
        .read_text()
        .replace("  postgres:", "    command: sleep 600\n  postgres:")
    )
    engine.api.kill(container.id)
    with terminal(folder, "web", "echo", "works") as shown:
        shown.expect("web is not running (its container is exited). Start it? [Y/n]")
        shown.type("n\r")
        shown.expect("owctl start web")
        assert shown.exit_code() == 125
    with terminal(folder, "web", "echo", "works") as shown:
        shown.expect("Start it? [Y/n]")
        shown.type("\r")
        shown.expect("works", timeout_seconds=60)
        assert shown.exit_code() == 0
