"""Running an owctl and killing it, with everything that it started, at a chosen moment."""

import os
import signal
import subprocess
import tempfile
from contextlib import suppress

from torture.subject import Result, Subject


def killed_after(subject: Subject, words: tuple[str, ...], seconds: float) -> Result:
    """Run owctl, and SIGKILL it after that time, unless it has ended by then."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        process = subprocess.Popen(
            subject.command(*words),
            cwd=subject.folder,
            env=subject.environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        stdout.seek(0)
        stderr.seek(0)
        return Result(words, process.returncode, stdout.read(), stderr.read())
