"""A command in a container on the user's own terminal, or on pipes: input, output, window size.

On a terminal every byte travels as it is typed (Ctrl-C too); the terminal's settings are put back
on every way out.
"""

import contextlib
import os
import select
import signal
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from types import FrameType

from owctl.engine.execution import ExecStream
from owctl.errors import OwctlError

READ_BYTES = 1 << 16
# The engine may not know the terminal yet when the command has only just begun.
RESIZE_ATTEMPTS = 5
RESIZE_PAUSE_SECONDS = 0.05
JOIN_SECONDS = 1.0


@contextlib.contextmanager
def raw_terminal(descriptor: int) -> Iterator[None]:
    """Put a terminal into raw mode, and back when the block is left, however that is."""
    settings = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, settings)


def attach(
    stream: ExecStream, *, stdin: int | None, stdout: int, stderr: int, terminal: bool
) -> int:
    """Connect a command to file descriptors until it ends, and return its exit code.

    ``stdin`` None gives it no input; at the end of ``stdin`` its input ends, too. ``terminal``
    means that ``stdin`` and ``stdout`` are one and that the command was started with a terminal.
    Raises BrokenPipeError when nobody reads the output, EngineUnavailable, KeyboardInterrupt.
    """
    with contextlib.ExitStack() as stack:
        if terminal and stdin is not None:
            stack.enter_context(raw_terminal(stdin))
            stack.enter_context(_following_window(stream, stdout))
        if stdin is not None:
            stack.enter_context(_forwarding(stdin, stream))
        for name, data in stream:
            _write_all(stderr if name == "stderr" else stdout, data)
    return stream.exit_code()


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            # Somebody made the terminal non-blocking; it is shared with our parent.
            select.select([], [descriptor], [])


@contextlib.contextmanager
def _forwarding(descriptor: int, stream: ExecStream) -> Iterator[None]:
    """Send what comes on ``descriptor`` to the command, from a thread of its own."""
    stop_reader, stop_writer = os.pipe()

    def forward() -> None:
        # The command may end without having read its input; its exit code tells all.
        with contextlib.suppress(BrokenPipeError):
            while True:
                ready, _, _ = select.select([descriptor, stop_reader], [], [])
                if stop_reader in ready:
                    return
                try:
                    data = os.read(descriptor, READ_BYTES)
                except OSError:
                    data = b""  # the terminal has been hung up
                if not data:
                    stream.close_stdin()
                    return
                stream.write(data)

    thread = threading.Thread(target=forward, name="owctl-stdin", daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(stop_writer)
        # A thread that waits for the engine to take input ends when the connection does.
        stream.close()
        thread.join()
        os.close(stop_reader)


@contextlib.contextmanager
def _following_window(stream: ExecStream, descriptor: int) -> Iterator[None]:
    """Give the command the terminal's size now and whenever it changes."""
    changed, done = threading.Event(), threading.Event()

    def follow() -> None:
        while not done.is_set():
            changed.clear()
            _resize(stream, descriptor, done)
            changed.wait()

    def on_change(_number: int, _frame: FrameType | None) -> None:
        changed.set()

    before = _handle(signal.SIGWINCH, on_change)
    thread = threading.Thread(target=follow, name="owctl-window", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        changed.set()
        thread.join(JOIN_SECONDS)  # it may wait for an engine that has died
        _handle(signal.SIGWINCH, before)


_Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None


def _handle(number: signal.Signals, handler: _Handler) -> _Handler:
    # Signals can be handled in the main thread only; elsewhere the first size has to do.
    if threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _resize(stream: ExecStream, descriptor: int, done: threading.Event) -> None:
    for _ in range(RESIZE_ATTEMPTS):
        size = os.get_terminal_size(descriptor)
        try:
            stream.resize(size.lines, size.columns)
        except OwctlError:
            # Too early, or the command has ended: neither is worth more than another try.
            if done.wait(RESIZE_PAUSE_SECONDS):
                return
        else:
            return
