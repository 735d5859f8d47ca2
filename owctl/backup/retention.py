"""Which backups are kept: pure rules over times, nothing is read or removed here.

Each rule looks at the last N periods (UTC) that have a backup, and keeps the newest backup of each. What
any rule keeps is kept. Only sound backups count, and only against what holds no more than they do: a
backup of the configuration alone never pushes one out that holds the database.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Condition = Literal["sound", "unverified", "broken", "untouchable"]
Period = Callable[[datetime, str], object]


@dataclass(frozen=True, slots=True)
class Rules:
    """How many backups and periods to keep; 0 means that there is no such rule."""

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0

    def __bool__(self) -> bool:
        return any((self.last, self.daily, self.weekly, self.monthly))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backup as the rules see it.

    ``parts`` is what it holds. ``note`` says why it is not ``sound``; an ``untouchable`` one is none
    of ours to judge.
    """

    id: str
    created_at: datetime
    condition: Condition = "sound"
    parts: frozenset[str] = frozenset()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a backup, and why."""

    candidate: Candidate
    keep: bool
    reason: str


def decide(
    candidates: Iterable[Candidate], rules: Rules, *, remove_broken: bool = False
) -> list[Verdict]:
    """Return a verdict on each backup, newest first.

    Without a rule all are kept. A broken backup goes only with ``remove_broken``, and only while a
    sound one stays; one that nobody has verified stays until somebody does.
    """
    ordered = sorted(candidates, key=_age, reverse=True)
    sound = [each for each in ordered if each.condition == "sound"]
    kept: dict[str, list[str]] = {}
    for parts in {each.parts for each in sound}:
        # All that could stand in for such a backup.
        pool = [each for each in sound if each.parts >= parts]
        reasons = _select(pool, rules)
        kept |= {each.id: reasons.get(each.id, []) for each in pool if each.parts == parts}
    verdicts = []
    for each in ordered:
        if each.condition == "sound":
            verdicts.append(_on_sound(each, rules, kept[each.id]))
        elif each.condition == "broken" and remove_broken and sound:
            verdicts.append(Verdict(each, False, f"broken: {each.note}" if each.note else "broken"))
        else:
            verdicts.append(Verdict(each, True, each.note or each.condition))
    return verdicts


def _on_sound(candidate: Candidate, rules: Rules, reasons: Sequence[str]) -> Verdict:
    if not rules:
        return Verdict(candidate, True, "there is no rule")
    return Verdict(candidate, bool(reasons), ", ".join(reasons) or "no rule keeps it")


def _select(pool: Sequence[Candidate], rules: Rules) -> dict[str, list[str]]:
    """Return the names of the rules that keep each; ``pool`` is sorted, newest first."""
    reasons: dict[str, list[str]] = {}
    for name, count, period in (
        ("last", rules.last, _itself),
        ("daily", rules.daily, _day),
        ("weekly", rules.weekly, _week),
        ("monthly", rules.monthly, _month),
    ):
        seen: set[object] = set()
        for each in pool:
            if len(seen) == count:
                break
            key = period(each.created_at.astimezone(UTC), each.id)
            if key not in seen:
                seen.add(key)
                reasons.setdefault(each.id, []).append(name)
    return reasons


def _age(candidate: Candidate) -> tuple[datetime, str]:
    return candidate.created_at, candidate.id


def _itself(_: datetime, backup_id: str) -> object:
    return backup_id


def _day(moment: datetime, _: str) -> object:
    return moment.date()


def _week(moment: datetime, _: str) -> object:
    # ISO's year: the last days of December may be in the next year's first week.
    return moment.isocalendar()[:2]


def _month(moment: datetime, _: str) -> object:
    return moment.year, moment.month
