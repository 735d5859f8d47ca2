"""The whole terminal: entered, left again on every way out, and its keys."""

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

# -- What a terminal sends when keys are pressed, as names and characters.


# Terminals send one or the other form of these, depending on a mode that they may be in.
_NAMES = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[C": "right",
    b"\x1bOC": "right",
    b"\x1b[D": "left",
    b"\x1bOD": "left",
    b"\x1b[H": "home",
    b"\x1bOH": "home",
    b"\x1b[1~": "home",
    b"\x1b[7~": "home",
    b"\x1b[F": "end",
    b"\x1bOF": "end",
    b"\x1b[4~": "end",
    b"\x1b[8~": "end",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\r": "enter",
    b"\n": "enter",
    b"\x7f": "backspace",
    b"\x08": "backspace",
    b"\x15": "ctrl u",
    b"\x0c": "ctrl l",
}
_ESCAPE = 0x1B
_LONGEST_SEQUENCE_BYTES = 32


def parse_keys(data: bytes, *, more_may_come: bool = True) -> tuple[list[str], bytes]:
    """Return the keys in ``data``, and the bytes of a key that has not come whole yet.

    Without ``more_may_come`` nothing is kept: a lone escape is then the key "escape". Sequences that
    mean nothing here, and control characters, are left out.
    """
    keys: list[str] = []
    position = 0
    while position < len(data):
        length = _length(data, position)
        if length is None:
            if more_may_come:
                return keys, data[position:]
            length = 1
        if name := _name(data[position : position + length]):
            keys.append(name)
        position += length
    return keys, b""


def _length(data: bytes, position: int) -> int | None:
    """Return how many bytes the key at ``position`` has, None where they have not all come."""
    first = data[position]
    if first == _ESCAPE:
        return _sequence_length(data, position)
    size = 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    return size if position + size <= len(data) else None


def _sequence_length(data: bytes, position: int) -> int | None:
    second = data[position + 1 : position + 2]
    if not second:
        return None
    if second == b"O":
        return 3 if position + 2 < len(data) else None
    if second != b"[":
        # Alt and a key, or escape twice.
        return 1 if second == b"\x1b" else 2
    for end in range(position + 2, min(len(data), position + _LONGEST_SEQUENCE_BYTES)):
        if 0x40 <= data[end] <= 0x7E:
            return end + 1 - position
    return None if len(data) - position < _LONGEST_SEQUENCE_BYTES else _LONGEST_SEQUENCE_BYTES


def _name(key: bytes) -> str:
    if key == b"\x1b":
        return "escape"
    if name := _NAMES.get(key):
        return name
    text = key.decode("utf-8", "ignore")
    return text if len(text) == 1 and text.isprintable() else ""


# -- The whole terminal for as long as it is needed: other screen, keys one by one, all put back.
# Only lines that changed are written, so that it is quick over a slow line.


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
