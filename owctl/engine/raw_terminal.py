"""The user's terminal in raw mode, and back on every way out of it.

Also while owctl is stopped (SIGTSTP from elsewhere: a Ctrl-Z is the command's), and when a signal kills
it that Python leaves alone.
"""

import contextlib
import signal
import termios
import threading
import tty
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

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
