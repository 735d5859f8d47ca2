"""A program on a pseudo-terminal, and what a person would see of it."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

OTHER_SCREEN = b"\x1b[?1049h"
OWN_SCREEN = b"\x1b[?1049l"


class _Terminal(pyte.Screen):
    """A terminal with another screen; its own is empty again when a program leaves that."""

    def erase_in_line(self, how: int = 0, private: bool = False) -> None:
        # After the last column of a line a terminal's cursor is still on that, and erases it.
        self.cursor.x = min(self.cursor.x, self.columns - 1)
        super().erase_in_line(how, private=private)

    def reset_mode(self, *modes: int, **kind: bool) -> None:
        super().reset_mode(*modes, **kind)
        if 1049 in modes and kind.get("private"):
            self.erase_in_display(2)
            self.cursor_position()


class Screen:
    """A program with a terminal as its controlling one; leaving the block kills what still runs."""

    def __init__(
        self,
        command: Sequence[str | Path],
        folder: Path,
        *,
        environment: dict[str, str] | None = None,
        columns: int = 80,
        rows: int = 24,
    ) -> None:
        self._drawn = _Terminal(columns, rows)
        self._stream = pyte.ByteStream(self._drawn)
        self.written = b""
        reader, writer = os.pipe()
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:  # the child
            # It waits until the terminal has its size.
            os.read(reader, 1)
            os.chdir(folder)
            os.environ.pop("COLUMNS", None)
            words = [str(word) for word in command]
            os.execve(words[0], words, {**(environment or os.environ), "TERM": "xterm-256color"})
        self._set_size(columns, rows)
        self.settings = termios.tcgetattr(self.descriptor)
        os.write(writer, b".")
        os.close(reader)
        os.close(writer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.descriptor)

    @property
    def lines(self) -> list[str]:
        """The lines of the screen, as far as the program has drawn them."""
        return [line.rstrip() for line in self._drawn.display]

    @property
    def text(self) -> str:
        """The screen as one text."""
        return "\n".join(self.lines)

    def reversed_lines(self) -> list[str]:
        """The lines that stand out as selected."""
        return [
            line for number, line in enumerate(self.lines) if self._drawn.buffer[number][0].reverse
        ]

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size, as dragging its window does."""
        self._drawn.resize(rows, columns)
        self._set_size(columns, rows)

    def _set_size(self, columns: int, rows: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, size)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.descriptor, text.encode())

    def see(self, *texts: str, timeout_seconds: float = 60) -> None:
        """Wait until all the texts are on the screen."""
        self.wait_until(
            lambda: all(text in self.text for text in texts), f"shows {texts}", timeout_seconds
        )

    def wait_until(
        self, condition: Callable[[], bool], what: str, timeout_seconds: float = 60
    ) -> None:
        """Read what the program writes until the condition holds."""
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            assert time.monotonic() < deadline, (
                f"not within {timeout_seconds} s: {what}\n{self.text}"
            )
            self._read(0.05)

    def exit_code(self, timeout_seconds: float = 60) -> int:
        """Wait until the program ends, reading on; minus the signal if one killed it."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            self._read(0.05)
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self._read(0.0)
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline, f"it did not end:\n{self.text}"

    def is_restored(self) -> bool:
        """Whether the terminal has its settings and its own screen, with a cursor."""
        return (
            termios.tcgetattr(self.descriptor) == self.settings
            and self.written.rfind(OWN_SCREEN) > self.written.rfind(OTHER_SCREEN)
            and not self._drawn.cursor.hidden
        )

    def _read(self, seconds: float) -> None:
        # Linux says EIO where the other side has been closed.
        with contextlib.suppress(OSError):
            while select.select([self.descriptor], [], [], seconds)[0]:
                data = os.read(self.descriptor, 65536)
                self.written += data
                self._stream.feed(data)
                seconds = 0.0
