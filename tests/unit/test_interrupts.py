"""A signal is heard even when it does not interrupt the call that the main thread blocks in."""

import subprocess
import sys

import pytest

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
