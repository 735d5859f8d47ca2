"""Several owctls at once: one works, the others say that it does."""

from random import Random

from torture.backups import names
from torture.report import Tally
from torture.restore_kills import RestoreKills
from torture.subject import Result, Subject, Trouble

_LOCKED = 8


def several_at_once(subject: Subject, rounds: int, random: Random) -> Tally:
    """Start two backups and two restores at once, again and again."""
    scene = RestoreKills(subject, random)
    tally = scene.tally = Tally("backup and restore", "four owctls at once")
    while tally.runs < rounds:
        before = names(subject)
        commands = [scene.words, ("backup",), scene.words, ("backup",)]
        random.shuffle(commands)
        processes = [(words, subject.popen(*words)) for words in commands]
        results = []
        for words, process in processes:
            stdout, stderr = process.communicate()
            results.append(Result(words, process.returncode, stdout, stderr))
        _check(results)
        for name in names(subject) - before:
            subject.succeed("backup", "verify", name)
        tally.count(f"{sum(r.exit_code == 0 for r in results)} worked, the others were refused")
        scene.settle("restore")
    return tally


def _check(results: list[Result]) -> None:
    for result in results:
        # A second restore that came in time finds the first one's journal.
        is_refused = result.exit_code == _LOCKED or (
            result.exit_code == 1 and result.words[0] == "restore"
        )
        if result.exit_code and (not is_refused or "Try:" not in result.stderr):
            raise Trouble(str(result))
    restored = [r for r in results if r.exit_code == 0 and r.words[0] == "restore"]
    if len(restored) > 1:
        raise Trouble("two restores were done, the second over the first")
