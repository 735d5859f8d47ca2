"""``owctl shell`` on a real terminal and on pipes."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from engine_helpers import create, run

from owctl.compose.model import Service, Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import Container

pytestmark = pytest.mark.engine

COMMAND = [sys.executable, "-m", "owctl", "shell"]


@pytest.fixture
def folder(tmp_path: Path, project: str, base_image: str) -> Path:
    services = "".join(
        f"  {name}:\n    image: {base_image}\n" for name in ("web", "postgres", "redis")
    )
    (tmp_path / "compose.yaml").write_text(f"name: {project}\nservices:\n{services}")
    return tmp_path


@pytest.fixture
def container(
    engine: Engine, make_stack: Callable[..., Stack], sleeper: Callable[..., Service]
) -> Container:
    stack = make_stack(service := sleeper())
    return run(engine, stack, service)


class Terminal:
    """owctl on a pseudo-terminal of its own, as its controlling one."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:  # the child
            os.chdir(folder)
            os.execv(COMMAND[0], [*COMMAND, *arguments])
        self.set_size(31, 97)
        self.settings = termios.tcgetattr(self.descriptor)
        self.shown = b""

    def set_size(self, rows: int, columns: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, size)

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def expect(self, text: str, timeout_seconds: float = 20) -> None:
        """Read until ``text`` is shown; what was shown up to it is forgotten."""
        deadline = time.monotonic() + timeout_seconds
        while text.encode() not in self.shown:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} was not shown, but {self.shown!r}"
            if select.select([self.descriptor], [], [], left)[0]:
                # Linux says EIO where the other side has been closed.
                with contextlib.suppress(OSError):
                    self.shown += os.read(self.descriptor, 4096)
        self.shown = self.shown.partition(text.encode())[2]

    def exit_code(self, timeout_seconds: float = 20) -> int:
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            if select.select([self.descriptor], [], [], 0.02)[0]:
                with contextlib.suppress(OSError):
                    self.shown += os.read(self.descriptor, 4096)
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"owctl did not end; shown: {self.shown!r}")

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.descriptor)


@contextmanager
def terminal(folder: Path, *arguments: str) -> Iterator[Terminal]:
    opened = Terminal(folder, *arguments)
    try:
        yield opened
    finally:
        opened.close()


def piped(
    folder: Path, *arguments: str, given: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **(environment or {})},
        check=False,
    )


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_restored_when_owctl_is_ended(
    container: Container, folder: Path, number: signal.Signals
):
    with terminal(folder, "web", "sh", "-c", "echo ready; sleep 60") as shown:
        shown.expect("ready")
        assert termios.tcgetattr(shown.descriptor) != shown.settings
        os.kill(shown.pid, number)
        assert shown.exit_code() == 130
        assert termios.tcgetattr(shown.descriptor) == shown.settings


def test_the_terminal_is_restored_when_the_container_dies(
    engine: Engine, container: Container, folder: Path
):
    with terminal(folder, "web", "sh", "-c", "echo ready; sleep 60") as shown:
        shown.expect("ready")
        engine.api.kill(container.id)
        assert shown.exit_code() not in (0, 125)
        assert termios.tcgetattr(shown.descriptor) == shown.settings


def test_without_a_terminal_input_is_passed_through(container: Container, folder: Path):
    result = piped(folder, "web", "sh", "-c", "tty; cat; echo end >&2", given="one\ntwo\n")
    assert (result.returncode, result.stdout) == (0, "not a tty\none\ntwo\n")
    assert result.stderr == "end\n"
    # A bare shell reads its commands from there.
    assert piped(folder, "web", given="echo from $0; exit 4\n").stdout == "from bash\n"


def test_much_passes_through_whole(container: Container, folder: Path):
    text = "0123456789abcdef" * 300_000
    assert piped(folder, "web", "cat", given=text).stdout == text


def test_arguments_are_the_commands_own(container: Container, folder: Path):
    assert piped(folder, "web", "ls", "-d", "/").stdout == "/\n"
    assert piped(folder, "web", "--", "echo", "--user", "-T").stdout == "--user -T\n"
    assert piped(folder, "web", "echo", "a  b", "$HOME").stdout == "a  b $HOME\n"
    assert piped(folder, "-u", "nobody", "web", "id", "-un").stdout == "nobody\n"


def test_no_terminal_on_request(container: Container, folder: Path):
    with terminal(folder, "-T", "web", "sh", "-c", "tty; exit 6") as shown:
        shown.expect("not a tty")
        assert shown.exit_code() == 6


def test_ctrl_c_without_a_terminal_ends_owctl(container: Container, folder: Path):
    with terminal(folder, "-T", "web", "sh", "-c", "echo ready; sleep 60") as shown:
        shown.expect("ready")
        shown.type("\x03")
        assert shown.exit_code() == 130


def test_a_command_that_does_not_exist(container: Container, folder: Path):
    result = piped(folder, "web", "no-such-program")
    assert result.returncode in (126, 127)
    assert "no-such-program" in result.stdout + result.stderr


def test_a_reader_that_has_seen_enough(container: Container, folder: Path):
    script = f"{' '.join(COMMAND)} web yes | head -1; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (141, "y\n", "")


def test_without_stdin(container: Container, folder: Path):
    script = f"{' '.join(COMMAND)} web echo works <&-"
    result = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "works\n", "")


def test_what_owctl_cannot_do_is_125(
    engine: Engine,
    container: Container,
    folder: Path,
    make_stack: Callable[..., Stack],
    sleeper: Callable[..., Service],
):
    create(engine, make_stack(sleeper("redis")), sleeper("redis"))
    engine.api.kill(container.id)
    for arguments, text, hint in (
        (["wbe"], "Did you mean web?", ""),
        (["postgres"], "postgres is not running", "owctl start postgres"),
        (["db"], "postgres is not running", "owctl start postgres"),
        (["redis"], "its container is created", "owctl start redis"),
        (["--index", "4", "web"], "web number 4", "one of its numbers: 1"),
        (["web"], "its container is exited", "owctl start web; owctl logs --tail 20 web"),
    ):
        result = piped(folder, *arguments)
        assert (result.returncode, result.stdout) == (125, ""), arguments
        assert text in result.stderr
        assert f"Try: {hint}" in result.stderr
    unreachable = {"DOCKER_HOST": "unix:///no/such.sock"}
    assert piped(folder, "web", environment=unreachable).returncode == 125
    assert piped(folder).returncode == 2
    assert piped(folder, "--no-such-option", "web").returncode == 2


def stand_in(engine: Engine, container: Container, name: str) -> None:
    """Put a program in the container that tells how it was called."""
    script = 'echo "$0 $*"; echo $PGUSER $PGDATABASE $PGPASSWORD$REDISCLI_AUTH; cat'
    write = f"printf '%s\\n' '#!/bin/sh' '{script}' > /usr/bin/{name}; chmod +x /usr/bin/{name}"
    identity = engine.api.exec_create(container.id, ["sh", "-c", write])["Id"]
    engine.api.exec_start(identity)


def test_databases_get_their_own_clients(
    engine: Engine,
    make_stack: Callable[..., Stack],
    sleeper: Callable[..., Service],
    folder: Path,
):
    postgres = sleeper(
        "postgres", environment={"POSTGRES_USER": "owner", "POSTGRES_PASSWORD": "s3cret-word"}
    )
    redis = sleeper("redis", command=("sh", "-c", "sleep 600 #", "--requirepass", "hush-hush"))
    stack = make_stack(postgres, redis)
    stand_in(engine, run(engine, stack, postgres), "psql")
    stand_in(engine, run(engine, stack, redis), "redis-cli")
    result = piped(folder, "db", given="select 1")
    assert result.stdout == "/usr/bin/psql \nowner owner s3cret-word\nselect 1"
    result = piped(folder, "redis", given="PING")
    assert result.stdout == "/usr/bin/redis-cli \nhush-hush\nPING"
