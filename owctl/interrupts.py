"""Signals that are heard at once, even by a main thread that is about to block.

Python runs its handlers between two instructions. A signal that comes after the last look and
before a system call that blocks is noted, and heard only when that call returns: for `logs -f` of a
silent service, perhaps never. So a thread knocks once more, which ends such a call.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

Handler = Callable[[int, FrameType | None], object]
_IMPORT_MACHINERY = "<frozen importlib._bootstrap>"
_LATER_SECONDS = 0.005
KNOCK = signal.SIGURG  # ignored by default, and used by nobody else here
PAUSE_SECONDS = 0.05


def hear_at_once() -> None:
    """Start the thread that repeats what comes; call it once, from the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(KNOCK, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def repeat() -> None:
        pause = threading.Event()
        while number := os.read(reader, 1):
            if number[0] != KNOCK:
                pause.wait(PAUSE_SECONDS)
                signal.pthread_kill(main_thread, KNOCK)

    threading.Thread(target=repeat, name="signals", daemon=True).start()


def outside_imports(act: Handler) -> Handler:
    """Return a handler that calls ``act``, but never between two instructions of an import itself.

    An exception there can leave the lock of a module held, and who imports it next waits for ever. The
    signal is sent once more a moment later. What a module does while it is imported can be interrupted.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        if frame is None or frame.f_code.co_filename != _IMPORT_MACHINERY:
            act(number, frame)
            return
        again = threading.Timer(_LATER_SECONDS, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()

    return handle
