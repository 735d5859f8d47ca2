"""Runs a command once and says what it took; runs two in turn."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

END_PATIENCE_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of a command, with the processes that it waited for."""

    seconds: float
    cpu_seconds: float = 0.0
    peak_bytes: int = 0


Measured = Callable[[], Sample]


class CommandFailed(Exception):
    """A measured command did not do what it was to do; the message holds its last words."""


def run_timed(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    stdout: int = subprocess.DEVNULL,
) -> Sample:
    """Run a command to its end. Raises CommandFailed unless it exits with 0."""
    with tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=errors,
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            _end(process)
            raise
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            said = errors.read().decode(errors="replace")[-2000:]
            words = " ".join(str(part) for part in command)
            raise CommandFailed(f"`{words}` exited with {process.returncode}:\n{said}")
    return Sample(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _end(process: "subprocess.Popen[bytes]") -> None:
    # As Ctrl-C would: what it is about to make is then made or not, before the clearing up.
    process.send_signal(signal.SIGINT)
    try:
        process.wait(END_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def in_turn(
    measured: Mapping[str, Measured],
    rounds: Mapping[str, int],
    tell: Callable[[str], None],
) -> dict[str, list[Sample]]:
    """Run several commands in turn, so that the machine's moods meet all of them.

    ``rounds`` says how often each is run at most; ``tell`` hears of every run.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in measured}
    for number in range(max(rounds.values())):
        names = [name for name in measured if number < rounds[name]]
        # Whoever comes first in one round comes last in the next.
        for name in names if number % 2 == 0 else reversed(names):
            sample = measured[name]()
            samples[name].append(sample)
            tell(f"{name}, {number + 1} of {rounds[name]}: {sample.seconds:.2f} s")
    return samples


def median_seconds(samples: Sequence[Sample]) -> float:
    """Return the median of the wall time; there is at least one sample."""
    return median(sample.seconds for sample in samples)
