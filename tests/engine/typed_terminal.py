"""owctl shell as a user runs it: on a terminal that a test types on, or on pipes."""

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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

COMMAND = [sys.executable, "-m", "owctl", "shell"]


class Terminal:
    """owctl on a pseudo-terminal of its own, as its controlling one."""

    def __init__(self, folder: Path, *arguments: str, command: Sequence[str] = COMMAND) -> None:
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:  # the child
            os.chdir(folder)
            os.execvp(command[0], [*command, *arguments])
        self.set_size(31, 97)
        self.settings = termios.tcgetattr(self.descriptor)
        self.shown = b""

    def set_size(self, rows: int, columns: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, size)

    def type(self, text: str) -> None:
        left = text.encode()
        while left:
            readable, _, _ = select.select([self.descriptor], [self.descriptor], [])
            if readable:
                self.shown += os.read(self.descriptor, 4096)
            # A terminal takes what its program has room for.
            os.set_blocking(self.descriptor, False)
            with contextlib.suppress(BlockingIOError):
                left = left[os.write(self.descriptor, left[:4096]) :]
            os.set_blocking(self.descriptor, True)

    def expect(self, text: str, timeout_seconds: float = 40) -> None:
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

    def exit_code(self, timeout_seconds: float = 40) -> int:
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
def terminal(folder: Path, *arguments: str, command: Sequence[str] = COMMAND) -> Iterator[Terminal]:
    opened = Terminal(folder, *arguments, command=command)
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
