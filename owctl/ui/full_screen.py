"""The whole terminal for as long as it is needed: other screen, keys one by one, all put back.

Only lines that changed are written, so that it is quick over a slow line.
"""

import contextlib
import os
import select
import signal
import termios
import threading
import tty
from collections.abc import Callable, Iterator, Sequence
from types import FrameType, TracebackType
from typing import Self

from owctl.ui.keys import parse_keys

_ENTER = b"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
_LEAVE = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
READ_BYTES = 4096
# An escape sequence comes in one piece, or in two over a bad line; a lone escape is a key.
ESCAPE_SECONDS = 0.1
FALLBACK_SIZE = os.terminal_size((80, 24))

_Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None


class FullScreen:
    """A screen that is drawn with ``show``; use it in ``with``, in the main thread.

    ``wake``, from any thread, makes ``keys`` return. On every way out, and while ``suspended``, the
    terminal has its own screen and settings.
    """

    def __init__(self, stdin: int, stdout: int, encoding: str = "utf-8") -> None:
        self._stdin, self._stdout, self._encoding = stdin, stdout, encoding
        self._settings = termios.tcgetattr(stdin)
        self._shown: list[bytes] = []
        self._rest = b""
        self._stop_asked = False
        self._handlers: dict[signal.Signals, _Handler] = {}
        self._wake_reader, self._wake_writer = os.pipe()
        # Threads may wake a screen that is gone, when its descriptors are somebody else's.
        self._wake_lock = threading.RLock()
        self._closed = False
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)

    def __enter__(self) -> Self:
        for number, handler in (
            (signal.SIGWINCH, self._on_resize),
            (signal.SIGTSTP, self._on_stop),
        ):
            self._handlers[number] = signal.signal(number, handler)
        try:
            self._take()
        except BaseException:
            self._put_back()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._give_back()
        self._put_back()

    @property
    def size(self) -> os.terminal_size:
        """The terminal's columns and lines, now."""
        try:
            size = os.get_terminal_size(self._stdout)
        except OSError:
            return FALLBACK_SIZE
        return size if size.columns and size.lines else FALLBACK_SIZE

    def show(self, lines: Sequence[str]) -> None:
        """Draw the lines from the top; there must be no more than the screen has."""
        encoded = [line.encode(self._encoding, "replace") for line in lines]
        output = bytearray()
        for number, line in enumerate(encoded):
            if number >= len(self._shown) or line != self._shown[number]:
                # Erased before, not after: that would take the last character of a full line along.
                output += b"\x1b[%d;1H\x1b[K%b\x1b[0m" % (number + 1, line)
        if len(encoded) < len(self._shown):
            output += b"\x1b[%d;1H\x1b[J" % (len(encoded) + 1)
        self._write(bytes(output))
        self._shown = encoded

    def keys(self, timeout_seconds: float) -> list[str] | None:
        """Wait for keys and return them; none when time is up, something woke it or the size changed.

        None means that the terminal has been hung up.
        """
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_reader, READ_BYTES):
                pass
        if self._stop_asked:
            self._stop()
            return []
        waiting = ESCAPE_SECONDS if self._rest else timeout_seconds
        ready, _, _ = select.select([self._stdin, self._wake_reader], [], [], max(0.0, waiting))
        if self._stdin not in ready:
            if self._rest and not ready:
                found, self._rest = parse_keys(self._rest, more_may_come=False)
                return found
            return []
        try:
            data = os.read(self._stdin, READ_BYTES)
        except OSError:
            data = b""
        if not data:
            return None
        found, self._rest = parse_keys(self._rest + data)
        return found

    def wake(self) -> None:
        """Make ``keys`` return, now or when it is called next."""
        # A full pipe wakes it as well.
        with self._wake_lock, contextlib.suppress(BlockingIOError):
            if not self._closed:
                os.write(self._wake_writer, b".")

    def redraw(self) -> None:
        """Draw everything anew with the next ``show``."""
        self._shown = []
        self._write(b"\x1b[2J")

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """Give the terminal to somebody else for a block, and take it back."""
        self._give_back()
        try:
            yield
        finally:
            self._take()

    def _take(self) -> None:
        tty.setcbreak(self._stdin, termios.TCSADRAIN)
        self._shown = []
        self._write(_ENTER)

    def _give_back(self) -> None:
        # Settings first: they matter even where nobody sees the screen any more.
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._stdin, termios.TCSADRAIN, self._settings)
        with contextlib.suppress(OSError):
            self._write(_LEAVE)

    def _put_back(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        with self._wake_lock:
            self._closed = True
            os.close(self._wake_reader)
            os.close(self._wake_writer)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._stdout, view) :]
            except BlockingIOError:
                # Somebody made the terminal non-blocking; it is shared with our parent.
                select.select([], [self._stdout], [])

    def _on_resize(self, _number: int, _frame: FrameType | None) -> None:
        self._shown = []
        self.wake()

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop_asked = True
        self.wake()

    def _stop(self) -> None:
        """Stop as Ctrl-Z asks for, with the terminal as the shell expects it, until continued."""
        self._stop_asked = False
        with self.suspended():
            os.kill(os.getpid(), signal.SIGSTOP)
