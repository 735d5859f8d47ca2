"""A command in a container on the user's own terminal, or on pipes; and why one could not be started."""

import contextlib
import os
import re
import select
import signal
import termios
import threading
import tty
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType

from owctl.engine.execution import ExecStream
from owctl.errors import EngineError, OwctlError

# -- A command that could not be started in a container: the runtime's words, told in our own.
# The engine writes them where the command's output would be, and gives no reason apart from that.


NOT_EXECUTABLE = 126
NOT_FOUND = 127
# What the texts of Docker (runc) and Podman (crun) begin with.
_BEGINNINGS = (
    b"OCI runtime exec failed: ",
    b"unable to find user ",
    b"unable to find group ",
    b"Error: crun: ",
    b"Error: runc: ",
)
LONGEST_BYTES = 4096


class CommandNotStarted(EngineError):
    """A command could not be started; ``exit_code`` is what a shell would give: 126 or 127."""

    def __init__(self, message: str, *, hint: str, exit_code: int, program_missing: bool) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code
        self.program_missing = program_missing


@dataclass(frozen=True, slots=True)
class _Known:
    pattern: re.Pattern[str]
    message: str
    hint: str
    exit_code: int = NOT_EXECUTABLE


_TABLE = (
    _Known(
        re.compile(
            r"chdir to cwd \(\\*\"(?P<what>[^\"\\]*)|(?:workdir|chdir to) [\"`']?(?P<crun>\S+?)[\"`']?:"
        ),
        "there is no folder {what} in the container",
        "--workdir with one that it has",
    ),
    _Known(
        re.compile(r"Cwd must be an absolute path|is not an absolute path"),
        "the folder of --workdir must begin with /",
        "--workdir /",
    ),
    _Known(
        re.compile(r"unable to find (?:user|group) (?P<what>[^:]*):"),
        "the container knows no user or group {what}",
        "--user with a name of its /etc/passwd, or with a number",
    ),
    _Known(
        re.compile(
            r"executable file `?(?P<what>\S*?)`? ?not found|no such file or directory|not found"
        ),
        "the container has no such program",
        "its name, or its whole path in the container",
        NOT_FOUND,
    ),
    _Known(
        re.compile(r"permission denied|is a directory"),
        "it may not be executed",
        "`chmod +x` when the image is built; --user root, if others may not",
    ),
    _Known(
        re.compile(r"exec format error"),
        "it is no program for this machine",
        "a script needs `#!` and its interpreter in the first line",
    ),
)


def may_be_failure(output: bytes) -> bool:
    """Whether a command's first output may be the engine's, because it could not be started."""
    return output.startswith(_BEGINNINGS) and len(output) <= LONGEST_BYTES


def failure_of(output: bytes, exit_code: int, program: str) -> CommandNotStarted | None:
    """Return what the engine said, as an error; None if the output is the command's own."""
    if exit_code not in (NOT_EXECUTABLE, NOT_FOUND) or not may_be_failure(output):
        return None
    text = output.decode("utf-8", "replace").strip()
    for known in _TABLE:
        if found := known.pattern.search(text):
            what = next((value for value in found.groupdict().values() if value), "")
            return CommandNotStarted(
                f"Cannot run {program}: {known.message.format(what=what)}.",
                hint=known.hint,
                exit_code=known.exit_code,
                program_missing=known.exit_code == NOT_FOUND,
            )
    return CommandNotStarted(
        f"Cannot run {program}: {text}.",
        hint="`owctl doctor` checks the engine",
        exit_code=exit_code,
        program_missing=False,
    )


# -- The user's terminal in raw mode, and back on every way out of it.
# Also while owctl is stopped (SIGTSTP from elsewhere: a Ctrl-Z is the command's), and when a signal kills
# it that Python leaves alone.


_Handler = Callable[[int, FrameType | None], object]
# They would end the process without a word; SIGTERM and SIGHUP become an exception in cli.
_DEADLY = (signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)


@contextlib.contextmanager
def raw_terminal(descriptor: int, on_return: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Put a terminal into raw mode, and back when the block is left, however that is.

    ``on_return`` is called when owctl goes on after it was stopped: the window may have changed.
    """
    settings = termios.tcgetattr(descriptor)

    def go_on(_number: int = 0, _frame: FrameType | None = None) -> None:
        tty.setraw(descriptor, termios.TCSADRAIN)
        on_return()

    def restore() -> None:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, settings)

    def by_default(number: int) -> None:
        before = signal.signal(number, signal.SIG_DFL)
        # To this thread: it is stopped, or dead, before the next line.
        signal.pthread_kill(threading.get_ident(), number)
        signal.signal(number, before)

    def stop(number: int, _frame: FrameType | None) -> None:
        restore()
        by_default(number)
        go_on()

    def die(number: int, _frame: FrameType | None) -> None:
        restore()
        by_default(number)

    handlers: dict[signal.Signals, _Handler] = dict.fromkeys(_DEADLY, die)
    with handled({**handlers, signal.SIGTSTP: stop, signal.SIGCONT: go_on}):
        try:
            tty.setraw(descriptor, termios.TCSADRAIN)
            yield
        finally:
            restore()


@contextlib.contextmanager
def handled(handlers: Mapping[signal.Signals, _Handler]) -> Iterator[None]:
    """Handle signals in the block; in another thread than the main one this is impossible."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


# -- A command in a container on the user's own terminal, or on pipes: input, output, window size.
# On a terminal every byte travels as it is typed (Ctrl-C and Ctrl-Z too).


READ_BYTES = 1 << 16
# The engine may not know the terminal yet when the command has only just begun, and a busy one takes
# seconds to: without its size bash wraps lines at a width of its own. About 10 s in all.
RESIZE_PAUSES_SECONDS = (*[0.05] * 10, *[0.2] * 10, *[0.5] * 15)
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
    for pause_seconds in RESIZE_PAUSES_SECONDS:
        try:
            stream.resize(*window_size(descriptor))
        except (OwctlError, OSError):
            # Too early, or the command or the terminal has ended: neither is worth more than another try.
            if done.wait(pause_seconds):
                return
        else:
            return
