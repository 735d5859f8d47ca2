"""A command in a container on the user's own terminal, or on pipes: input, output, window size.

On a terminal every byte travels as it is typed (Ctrl-C and Ctrl-Z too).
"""

import contextlib
import os
import select
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from owctl.engine.exec_failures import failure_of, may_be_failure
from owctl.engine.execution import ExecStream
from owctl.engine.raw_terminal import handled, raw_terminal
from owctl.errors import OwctlError

READ_BYTES = 1 << 16
# The engine may not know the terminal yet when the command has only just begun.
RESIZE_ATTEMPTS = 5
RESIZE_PAUSE_SECONDS = 0.05
JOIN_SECONDS = 1.0


def attach(
    stream: ExecStream,
    *,
    program: str,
    stdin: int | None,
    stdout: int,
    stderr: int,
    terminal: bool,
) -> int:
    """Connect a command to file descriptors until it ends, and return its exit code.

    ``stdin`` None gives it no input; at the end of ``stdin`` its input ends, too. ``terminal``
    means that ``stdin`` and ``stdout`` are one and that the command was started with a terminal.
    ``program`` is what it is called in errors. Raises CommandNotStarted, BrokenPipeError when nobody
    reads the output, EngineUnavailable, KeyboardInterrupt.
    """
    held = b""
    with contextlib.ExitStack() as stack:
        if terminal and stdin is not None:
            window = stack.enter_context(_following_window(stream, stdout))
            stack.enter_context(raw_terminal(stdin, on_return=window.set))
        if stdin is not None:
            stack.enter_context(_forwarding(stdin, stream))
        beginning = True
        for name, data in stream:
            if beginning and name == "stdout" and may_be_failure(held + data):
                held += data
                continue
            if beginning:
                _write_all(stdout, held)
                beginning, held = False, b""
            _write_all(stderr if name == "stderr" else stdout, data)
        code = stream.exit_code()
    if failure := failure_of(held, code, program):
        raise failure
    _write_all(stdout, held)
    return code


def window_size(descriptor: int) -> tuple[int, int]:
    """Return the lines and columns of a terminal."""
    size = os.get_terminal_size(descriptor)
    return size.lines, size.columns


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
def _following_window(stream: ExecStream, descriptor: int) -> Iterator[threading.Event]:
    """Give the command the terminal's size now, whenever it changes, and when the event is set."""
    changed, done = threading.Event(), threading.Event()

    def follow() -> None:
        while not done.is_set():
            changed.clear()
            _resize(stream, descriptor, done)
            changed.wait()

    def on_change(_number: int, _frame: FrameType | None) -> None:
        changed.set()

    thread = threading.Thread(target=follow, name="owctl-window", daemon=True)
    with handled({signal.SIGWINCH: on_change}):
        thread.start()
        try:
            yield changed
        finally:
            done.set()
            changed.set()
            thread.join(JOIN_SECONDS)  # it may wait for an engine that has died


def _resize(stream: ExecStream, descriptor: int, done: threading.Event) -> None:
    for _ in range(RESIZE_ATTEMPTS):
        try:
            stream.resize(*window_size(descriptor))
        except (OwctlError, OSError):
            # Too early, or the command or the terminal has ended: neither is worth more than another try.
            if done.wait(RESIZE_PAUSE_SECONDS):
                return
        else:
            return
