"""SIGKILL at random moments of a restore, and of what is to put it right again."""

import time
from random import Random

from torture.backups import names
from torture.killing import killed_after
from torture.report import Tally
from torture.subject import Signature, Subject, Trouble

_LONGEST_CHAIN = 4


class RestoreKills:
    """A stack whose data is "live", and a backup of it when its data was "saved"."""

    def __init__(self, subject: Subject, random: Random, *, outage: bool = False) -> None:
        # What an engine that died did not start again, `owctl start` does.
        self.outage = outage
        self.subject = subject
        self.random = random
        self.tally = Tally("restore", "SIGKILL at a random moment, of resume, undo and finish, too")
        self.saved = subject.change("saved")
        before = names(subject)
        subject.succeed("backup", "--label", "saved")
        (self.backup,) = names(subject) - before
        self.live = subject.change("live")
        # By action, of the last run that came to its end: a kill must not come too late.
        self.durations: dict[str, float] = {}
        self._uninterrupted()

    @property
    def duration(self) -> float:
        """How many seconds a restore takes that nothing cuts off."""
        return self.durations["restore"]

    @property
    def words(self) -> tuple[str, ...]:
        """The restore that is tortured, on the command line."""
        return ("restore", self.backup, "--yes", "--no-safety-backup")

    def run(self, kills: int) -> Tally:
        """Kill until that many owctls were killed; raises Trouble when something does not hold."""
        while self.tally.killed < kills:
            self._kill(self.words)
            last = "restore"
            for _ in range(self.random.randrange(_LONGEST_CHAIN)):
                phase = self.subject.restore_phase()
                if phase is None:
                    break
                last = self._mending(phase)
                self._kill(("restore", last, *(() if last == "resume" else ("--yes",))))
            self.settle(last)
        return self.tally

    def settle(self, last: str) -> None:
        """Mend what ``last``, which may have been cut off, left; check what came of it."""
        subject, phase = self.subject, self.subject.restore_phase()
        try:
            outcome = self._settle(last, phase)
        except Trouble as trouble:
            trouble.add_note(f"The restore's journal stood at {phase} after {last}.")
            raise
        self.tally.outcomes[outcome] += 1
        if left := subject.leftovers():
            raise Trouble(f"after {outcome} there is still {', '.join(left)}")
        if subject.signature() != self.live:
            self.live = subject.change("live")

    def _settle(self, last: str, phase: str | None) -> str:
        subject = self.subject
        if phase is None:
            # Nothing had been touched, or the last one came to its end.
            subject.succeed("start")
            self._all_up()
            expected = (self.live, self.saved) if last in ("finish", "resume") else (self.live,)
            self._one_of(expected, f"no journal after {last}")
            return f"nothing to mend after {last}"
        if phase == "undoing" or (phase != "finishing" and self.random.random() < 0.5):
            self._timed("restore", "undo", "--yes")
            self._all_up()
            self._one_of((self.live,), f"undo in phase {phase}")
            return f"undone from {phase}"
        self._resume(phase)
        return f"resumed from {phase}"

    def _resume(self, phase: str) -> None:
        subject = self.subject
        self._timed("restore", "resume")
        if phase == "finishing":
            # Finishing starts nothing: the restore may have been cut off before it did.
            subject.succeed("start")
        self._all_up()
        self._one_of((self.saved,), f"resume in phase {phase}")
        if subject.restore_phase() is not None:
            subject.succeed("restore", "finish", "--yes")
            self._one_of((self.saved,), f"finish after resume in phase {phase}")

    def _all_up(self) -> None:
        if self.outage:
            self.subject.succeed("start")
        self.subject.healthy()

    def _uninterrupted(self) -> None:
        self._timed(*self.words)
        self._one_of((self.saved,), "an uninterrupted restore")
        self._timed("restore", "undo", "--yes")
        self._one_of((self.live,), "undo")

    def _timed(self, *words: str) -> None:
        began = time.monotonic()
        self.subject.succeed(*words)
        self._took(words, time.monotonic() - began)

    def _took(self, words: tuple[str, ...], seconds: float) -> None:
        action = "restore" if words == self.words else words[1]
        self.durations[action] = seconds

    def _kill(self, words: tuple[str, ...]) -> None:
        action = "restore" if words == self.words else words[1]
        moment = self.random.uniform(0, self.durations.get(action, self.duration))
        began = time.monotonic()
        result = killed_after(self.subject, words, moment)
        if result.exit_code > 0:
            raise Trouble(str(result))
        if result.exit_code == 0:
            self._took(words, time.monotonic() - began)
        self.tally.runs += 1
        self.tally.killed += result.exit_code < 0

    def _mending(self, phase: str) -> str:
        choices = {
            "undoing": ("undo", "resume"),
            "finishing": ("finish", "resume"),
            "swapped": ("undo", "finish"),
        }
        return self.random.choice(choices.get(phase, ("undo", "resume")))

    def _one_of(self, expected: tuple[Signature, ...], after: str) -> None:
        found = self.subject.signature()
        if found in expected:
            return
        for part in ("database", "files", "redis"):
            ours, theirs = getattr(found, part), getattr(expected[0], part)
            if ours != theirs:
                lines = set(ours.splitlines()) ^ set(theirs.splitlines())
                shown = "\n".join(sorted(lines)[:12])
                raise Trouble(f"after {after} {part} is not what it should be:\n{shown}")


def restore_kills(subject: Subject, kills: int, random: Random) -> Tally:
    """Kill that many owctls in the middle of restoring, mending, finishing."""
    return RestoreKills(subject, random).run(kills)
