"""A signal is heard even when it does not interrupt the call that the main thread blocks in."""

import importlib
import signal
import subprocess
import sys
import threading
from importlib.abc import MetaPathFinder
from types import FrameType

import pytest

from owctl.interrupts import outside_imports

# The signal is taken by another thread, so the main thread's recv goes on: the same as when it
# comes just before the call.
PROGRAM = """
import os, signal, socket, sys, threading, time
from pathlib import Path
from owctl.interrupts import hear_at_once

def end(word):
    print(word, flush=True)
    os._exit(0)

def send():
    state = Path(f"/proc/self/task/{os.getpid()}/stat")
    while state.read_text().rpartition(")")[2].split()[0] != "S":
        pass
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    threading.Event().wait(2)
    end("deaf")

signal.signal(signal.SIGTERM, lambda *_: end("heard"))
if sys.argv[1] == "with":
    hear_at_once()
left, right = socket.socketpair()
threading.Thread(target=send, daemon=True).start()
left.recv(1)
"""


@pytest.mark.parametrize(("how", "expected"), [("with", "heard"), ("without", "deaf")])
def test_a_signal_that_interrupts_nothing_is_heard(how, expected):
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, timeout=30
    )
    assert result.stdout == expected + "\n", result.stderr


def test_an_import_is_not_interrupted_in_the_middle():
    """A signal that comes while the machinery of imports runs is heard once that is done."""
    heard: list[str | None] = []
    at_last = threading.Event()

    def act(_: int, frame: FrameType | None) -> None:
        heard.append(None if frame is None else frame.f_code.co_filename)
        at_last.set()

    handle = outside_imports(act)
    before = signal.signal(signal.SIGUSR1, handle)
    during: list[str | None] = []

    class Interrupter(MetaPathFinder):
        def find_spec(self, name, path, target=None):
            handle(signal.SIGUSR1, sys._getframe(1))
            during.extend(heard)

    finder = Interrupter()
    sys.meta_path.insert(0, finder)
    try:
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("a_module_that_there_is_not")
        assert during == []
        assert at_last.wait(60)
    finally:
        sys.meta_path.remove(finder)
        signal.signal(signal.SIGUSR1, before)
    assert heard
    assert "<frozen importlib._bootstrap>" not in heard
    handle(signal.SIGUSR1, sys._getframe())
    assert heard[-1] == __file__
