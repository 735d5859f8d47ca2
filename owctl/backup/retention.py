"""Which backups are kept by which rule, and the removal of the others."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from owctl.backup.catalogue import Backup, has_own_name, list_backups
from owctl.backup.publish import locked_parent, remove_backup, remove_leftovers
from owctl.backup.verify import read_back, write_down
from owctl.errors import BackupInvalid, OwctlError
from owctl.progress import Receiver, ignore

# -- Which backups are kept: pure rules over times, nothing is read or removed here.
# Each rule looks at the last N periods (UTC) that have a backup, and keeps the newest backup of each. What
# any rule keeps is kept. Only sound backups count, and only against what holds no more than they do: a
# backup of the configuration alone never pushes one out that holds the database, and neither does one of
# an empty database push one out that has accounts.


Condition = Literal["sound", "unverified", "broken", "untouchable", "future"]
# Beside the parts: one that holds accounts or chats is more than one that has none.
_DATA = "data"


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
    of ours to judge. ``place`` is the one in the order of making, where that is known.
    """

    id: str
    created_at: datetime
    condition: Condition = "sound"
    parts: frozenset[str] = frozenset()
    note: str = ""
    place: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a backup, and why."""

    candidate: Candidate
    keep: bool
    reason: str


def decide(
    candidates: Iterable[Candidate],
    rules: Rules,
    *,
    remove_broken: bool = False,
    made: str | None = None,
) -> list[Verdict]:
    """Return a verdict on each backup, newest first.

    Without a rule all are kept. A broken backup goes only with ``remove_broken``, and only while a
    sound one stays; one that nobody has verified stays until somebody does, one that is dated in the
    future until that is past. ``made``, the one that was just made, stays whatever the rules say.
    """
    ordered = sorted(candidates, key=_age, reverse=True)
    sound = [each for each in ordered if each.condition == "sound"]
    kept: dict[str, list[str]] = {}
    for parts in {each.parts for each in sound}:
        # All that could stand in for such a backup.
        pool = [each for each in sound if each.parts >= parts]
        chosen = _select(pool, rules)
        kept |= {each.id: chosen.get(each.id, []) for each in pool if each.parts == parts}
    verdicts = []
    for each in ordered:
        if each.condition == "sound":
            reasons = kept[each.id] or (["just made"] if each.id == made else [])
            verdicts.append(_on_sound(each, rules, reasons))
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


def _age(candidate: Candidate) -> tuple[int, datetime, str]:
    return candidate.place, candidate.created_at, candidate.id


def _itself(_: datetime, backup_id: str) -> object:
    return backup_id


def _day(moment: datetime, _: str) -> object:
    return moment.date()


def _week(moment: datetime, _: str) -> object:
    # ISO's year: the last days of December may be in the next year's first week.
    return moment.isocalendar()[:2]


def _month(moment: datetime, _: str) -> object:
    return moment.year, moment.month


# -- Removing old backups: what the rules let go, once that which stays was proven to be sound.


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What would become of each backup of a project, newest first.

    ``others`` is how many backups of other projects lie in the folder, which are left alone.
    """

    parent: Path
    verdicts: tuple[Verdict, ...]
    backups: dict[str, Backup]
    others: int = 0

    @property
    def removals(self) -> tuple[Candidate, ...]:
        """What would be removed, newest first."""
        return tuple(each.candidate for each in self.verdicts if not each.keep)

    @property
    def emptied(self) -> Candidate | None:
        """The newest sound one, if it has no accounts and no chats, and one before it has."""
        sound = [v.candidate for v in self.verdicts if v.candidate.condition == "sound"]
        whole = [each for each in sound if "db" in each.parts]
        if not whole or _DATA in whole[0].parts or not any(_DATA in each.parts for each in sound):
            return None
        return whole[0]

    @property
    def future(self) -> tuple[Candidate, ...]:
        """Those that are dated in the future, and count for nothing."""
        found = (verdict.candidate for verdict in self.verdicts)
        return tuple(each for each in found if each.condition == "future")

    def size_bytes(self, ids: Collection[str]) -> int:
        """Return how much those take together."""
        found = (self.backups[each].manifest for each in ids)
        return sum(manifest.size_bytes for manifest in found if manifest is not None)


@dataclass(slots=True)
class Pruned:
    """What was removed, and what was left because somebody uses it; ids, oldest first."""

    removed: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)


def plan_prune(
    parent: Path,
    project: str,
    rules: Rules,
    *,
    remove_broken: bool = False,
    made: str | None = None,
) -> PrunePlan:
    """Look at the backups of a project and decide; changes nothing. Raises OwctlError.

    ``made`` is the id of one that was just made, and stays.
    """
    found = list_backups(parent)
    ours = [each for each in found if each.manifest is None or each.manifest.project == project]
    candidates = [_candidate(each, place) for place, each in enumerate(ours)]
    verdicts = decide(candidates, rules, remove_broken=remove_broken, made=made)
    return PrunePlan(
        parent, tuple(verdicts), {each.id: each for each in ours}, len(found) - len(ours)
    )


def prune(
    plan: PrunePlan,
    receive: Receiver = ignore,
    *,
    only: Collection[str] | None = None,
    trusted: Collection[str] = (),
) -> Pruned:
    """Remove what the plan lets go, the oldest first, and what killed runs left.

    ``only`` narrows it down to what the user has seen; ``trusted`` ids were verified a moment ago.
    Before anything goes, the newest sound backup that stands in for it is read back; if that is
    damaged, BackupInvalid is raised and nothing is removed. Raises OwctlError, naming what could not
    be removed, after all else was.
    """
    going = [each for each in plan.removals if only is None or each.id in only]
    for keeper in _keepers(plan, going):
        if keeper.id not in trusted:
            _prove(plan.backups[keeper.id], receive)
    pruned, failures = Pruned(), []
    for candidate in reversed(going):
        try:
            done = remove_backup(plan.backups[candidate.id].path)
        except OwctlError as error:
            failures.append(error)
            continue
        (pruned.removed if done else pruned.busy).append(candidate.id)
    if plan.parent.is_dir():
        with locked_parent(plan.parent):
            remove_leftovers(plan.parent)
    if failures:
        raise OwctlError(
            f"{len(failures)} of {len(going)} backups could not be removed.",
            hint=failures[0].hint,
            details=[error.message for error in failures],
        )
    return pruned


def _keepers(plan: PrunePlan, going: Sequence[Candidate]) -> list[Candidate]:
    """Return, for all that goes, the newest sound backup that stays and holds as much."""
    sound = [each.candidate for each in plan.verdicts if each.keep]
    sound = [each for each in sound if each.condition == "sound"]
    found: dict[str, Candidate] = {}
    for each in going:
        # For a broken one that held more than any sound one, at least the newest must be good.
        keeper = next((c for c in sound if c.parts >= each.parts), sound[0])
        found[keeper.id] = keeper
    return list(found.values())


def _prove(backup: Backup, receive: Receiver) -> None:
    found = read_back(backup.path, backup.read_manifest(), receive)
    write_down(backup.path, found.problems)
    if not found.is_sound:
        raise BackupInvalid(
            f"Nothing was removed: {backup.id}, the newest backup that would stay, is damaged.",
            hint="owctl backup, which makes a new one; then prune again",
            details=found.problems,
        )


def _candidate(backup: Backup, place: int) -> Candidate:
    condition, note = _condition(backup)
    manifest = backup.manifest
    created_at = None if manifest is None else manifest.moment
    if created_at is None:
        condition, note = "untouchable", note or "its manifest has no time that can be read"
    data = {_DATA} if manifest is not None and manifest.holds_data else set[str]()
    return Candidate(
        backup.id,
        created_at or datetime.min.replace(tzinfo=UTC),
        condition,
        frozenset({*backup.parts, *data}),
        note,
        place,
    )


def _condition(backup: Backup) -> tuple[Condition, str]:
    if backup.manifest is None:
        return "untouchable", f"left alone, whose it is cannot be told: {backup.problem}"
    if not has_own_name(backup):
        return "untouchable", "left alone, it is renamed or a link"
    if backup.broken_because is not None:
        return "broken", backup.broken_because
    if backup.is_future:
        return "future", "dated in the future, does not count"
    if not backup.is_verified:
        return "unverified", "not verified, does not count"
    return "sound", ""
