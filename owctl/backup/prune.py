"""Removing old backups: what the rules let go, once that which stays was proven to be sound."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from owctl.backup.catalogue import Backup, has_own_name, list_backups
from owctl.backup.events import Receiver, ignore
from owctl.backup.publish import locked_parent, remove_backup, remove_leftovers
from owctl.backup.read_back import read_back, write_down
from owctl.backup.retention import Candidate, Condition, Rules, Verdict, decide
from owctl.errors import BackupInvalid, OwctlError


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
    parent: Path, project: str, rules: Rules, *, remove_broken: bool = False
) -> PrunePlan:
    """Look at the backups of a project and decide; changes nothing. Raises OwctlError."""
    found = list_backups(parent)
    ours = [each for each in found if each.manifest is None or each.manifest.project == project]
    verdicts = decide(map(_candidate, ours), rules, remove_broken=remove_broken)
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


def _candidate(backup: Backup) -> Candidate:
    condition, note = _condition(backup)
    created_at = _moment(backup)
    if created_at is None:
        condition, note = "untouchable", note or "its manifest has no time that can be read"
    return Candidate(
        backup.id,
        created_at or datetime.min.replace(tzinfo=UTC),
        condition,
        frozenset(backup.parts),
        note,
    )


def _condition(backup: Backup) -> tuple[Condition, str]:
    if backup.manifest is None:
        return "untouchable", f"left alone, whose it is cannot be told: {backup.problem}"
    if not has_own_name(backup):
        return "untouchable", "left alone, it is renamed or a link"
    if backup.broken_because is not None:
        return "broken", backup.broken_because
    if not backup.is_verified:
        return "unverified", "not verified, does not count"
    return "sound", ""


def _moment(backup: Backup) -> datetime | None:
    if backup.manifest is None:
        return None
    try:
        moment = datetime.fromisoformat(backup.manifest.created_at)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
