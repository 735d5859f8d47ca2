"""SIGKILL at random moments of a backup."""

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
from torture.killing import killed_after
from torture.report import Tally
from torture.subject import Subject, Trouble

# Every so often a whole one must succeed, and clear away what the killed ones left.
_WHOLE_EVERY = 5
COMMANDS = (("backup",), ("backup",), ("backup", "--quiesce"))


def backup_kills(subject: Subject, kills: int, random: Random) -> Tally:
    """Kill that many backups of a running stack; raises Trouble when something does not hold."""
    tally = Tally("backup", "SIGKILL at a random moment")
    precious = make_precious(subject)
    durations = {}
    for words in dict.fromkeys(COMMANDS):
        began = time.monotonic()
        subject.succeed(*words)
        durations[words] = time.monotonic() - began
    signature = subject.signature()
    while tally.killed < kills:
        before = names(subject)
        words = random.choice(COMMANDS)
        began = time.monotonic()
        result = killed_after(subject, words, random.uniform(0, durations[words]))
        if result.exit_code == 0:
            durations[words] = time.monotonic() - began
        published = check_new(subject, before, result)
        tally.count("published" if published else "nothing", killed=result.exit_code < 0)
        check_earlier(subject, precious)
        if tally.runs % _WHOLE_EVERY == 0:
            check_whole(subject)
        forget_most(subject, precious)
    check_whole(subject)
    if subject.signature() != signature:
        raise Trouble("the stack's data changed while it was backed up")
    return tally
