"""SIGKILL of the engine itself at random moments of a backup and of a restore."""

import contextlib
import subprocess
import time
from random import Random

from torture.backups import (
    check_earlier,
    check_new,
    check_whole,
    forget_most,
    make_precious,
    names,
)
from torture.own_engine import OwnEngine
from torture.report import Tally
from torture.restore_kills import RestoreKills
from torture.subject import Result, Subject, Trouble

# Longer than any of owctl's own limits for an engine that does not answer.
_PATIENCE_SECONDS = 120
COMMANDS = (("backup",), ("backup",), ("backup", "--quiesce"))


def engine_kills_in_backup(
    engine: OwnEngine, subject: Subject, kills: int, random: Random
) -> Tally:
    """Kill the engine in the middle of that many backups."""
    tally = Tally("backup", "SIGKILL of the engine at a random moment")
    precious = make_precious(subject)
    signature = subject.signature()
    began = time.monotonic()
    subject.succeed("backup")
    duration = time.monotonic() - began
    while tally.runs < kills:
        before = names(subject)
        words = random.choice(COMMANDS)
        result = _killed_under(engine, subject, words, random.uniform(0, duration))
        published = check_new(subject, before, result)
        tally.count("published" if published else f"ended with {result.exit_code}")
        engine.start()
        check_earlier(subject, precious)
        subject.succeed("start")
        check_whole(subject)
        if subject.signature() != signature:
            raise Trouble("the stack's data changed while it was backed up")
        forget_most(subject, precious)
    return tally


def engine_kills_in_restore(
    engine: OwnEngine, subject: Subject, kills: int, random: Random
) -> Tally:
    """Kill the engine in the middle of that many restores; each is then resumed or undone."""
    scene = RestoreKills(subject, random, outage=True)
    scene.tally = Tally("restore", "SIGKILL of the engine at a random moment")
    while scene.tally.runs < kills:
        moment = random.uniform(0, scene.duration)
        result = _killed_under(engine, subject, scene.words, moment)
        scene.tally.count(f"ended with {result.exit_code}")
        engine.start()
        scene.settle("restore")
    return scene.tally


def _killed_under(
    engine: OwnEngine, subject: Subject, words: tuple[str, ...], seconds: float
) -> Result:
    """Run owctl, and kill the engine under it after that time; owctl must end by itself."""
    process = subject.popen(*words)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)
    engine.kill()
    try:
        stdout, stderr = process.communicate(timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        raise Trouble(
            f"owctl {' '.join(words)} hangs without an engine\n{stdout}{stderr}"
        ) from None
    result = Result(words, process.returncode, stdout, stderr)
    if result.exit_code and "Try:" not in result.stderr:
        raise Trouble(f"no way out is named\n{result}")
    return result
