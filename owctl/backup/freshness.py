"""How old the newest good backup is, and whether that is old enough to worry."""

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from owctl.backup.catalogue import FOLDER_NAME, Backup, list_backups
from owctl.backup.schedule.schedule import Schedule, read_schedule
from owctl.doctor.finding import Finding
from owctl.errors import OwctlError
from owctl.figures import parse_time, readable, readable_age
from owctl.postgres.place import Elsewhere, find_place

if TYPE_CHECKING:
    from owctl.compose.model import Stack
    from owctl.engine.connection import Engine

# What a backup must hold for the data to be safe.
DATA_PARTS = frozenset({"db", "files"})
_STARTING = ("start", "restart")
_LEAST_GRACE_SECONDS = 3600
_MOST_GRACE_SECONDS = 6 * 3600
# The next backup may be so much larger than the newest.
_GROWTH = 1.1
_HOW = "owctl backup; owctl backup schedule --daily 02:00 makes them by themselves"


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest verified backup of a project, and when it was begun.

    Where ``backup.is_future`` there is none but those dated in the future, and its age tells nothing.
    """

    backup: Backup
    created_at: datetime

    def age_seconds(self, now: datetime) -> float:
        """Return its age."""
        return (now - self.created_at).total_seconds()


def newest_verified(
    parent: Path,
    project: str,
    parts: Collection[str] = DATA_PARTS,
    now: datetime | None = None,
    *,
    with_data: bool = False,
) -> Newest | None:
    """Return the newest verified backup of the project that has at least these parts.

    ``with_data``: that has accounts or chats. One dated in the future only if there is no other; None
    where there is none. Raises OwctlError where the folder cannot be read.
    """
    found = [
        Newest(backup, created_at)
        for backup in list_backups(parent, now)
        if backup.is_verified and backup.manifest is not None
        if backup.manifest.project == project
        if set(parts) <= set(backup.parts)
        if backup.manifest.holds_data or not with_data
        if (created_at := backup.manifest.moment) is not None
    ]
    return found[-1] if found else None


def required_parts(schedule: Schedule | None) -> frozenset[str]:
    """Return the parts that a backup must hold to count for a schedule, or without one."""
    return frozenset(schedule.parts) if schedule and schedule.parts else DATA_PARTS


def check_backups(
    engine: "Engine | None", stack: "Stack", project_dir: Path, now: datetime | None = None
) -> tuple[Finding, ...]:
    """Return doctor's findings: is there a verified backup, as young as the schedule says?

    Those dated in the future are another. Raises nothing: what cannot be read is the finding.
    """
    now = now or datetime.now(UTC)
    try:
        schedule = read_schedule(project_dir)
        if schedule is not None and schedule.project != stack.project:
            schedule = None
        required = required_parts(schedule)
        if not (schedule and schedule.parts) and isinstance(find_place(stack), Elsewhere):
            required -= {"db"}
        judged = _judge(engine, stack.project, project_dir, schedule, required, now)
        return (judged, *_of_the_future(_parent(project_dir, schedule), stack.project, now))
    except OwctlError as error:
        return (Finding("backups", "warning", error.message.rstrip("."), error.hint),)


def backups_of(project_dir: Path, project: str) -> Path:
    """Return the folder that a project's backups are made in; raises OwctlError."""
    schedule = read_schedule(project_dir)
    return _parent(project_dir, schedule if schedule and schedule.project == project else None)


def _parent(project_dir: Path, schedule: Schedule | None) -> Path:
    named = schedule.parent if schedule else None
    return Path(named) if named else project_dir / FOLDER_NAME


def _of_the_future(parent: Path, project: str, now: datetime) -> tuple[Finding, ...]:
    found = [
        each
        for each in list_backups(parent, now)
        if each.is_future and each.manifest is not None and each.manifest.project == project
    ]
    if not found:
        return ()
    names = ", ".join(each.id for each in found[-3:])
    what = f"{names} is" if len(found) == 1 else f"{len(found)} backups ({names}) are"
    return (
        Finding(
            "backups",
            "warning",
            f"{what} dated after now ({now:%Y-%m-%d %H:%M} UTC): not counted, and never pruned",
            "date -u; if this clock is right, theirs was wrong: rm -r what you do not need of them "
            f"in {parent}",
        ),
    )


def _judge(
    engine: "Engine | None",
    project: str,
    project_dir: Path,
    schedule: Schedule | None,
    required: Collection[str],
    now: datetime,
) -> Finding:
    parent = _parent(project_dir, schedule)
    newest = newest_verified(parent, project, required, now)
    none = f"none of {count} backups is verified" if (count := len(list_backups(parent))) else ""
    if newest is not None and newest.backup.is_future:
        newest, none = None, "no verified backup has a date that can be true"
    planned = f", {schedule.timing.words}" if schedule else ""
    if schedule is not None and (late := _late(schedule, newest, now)):
        return Finding("backups", "warning", f"{late} (scheduled{planned})", _why_missed(schedule))
    if newest is not None:
        age = readable_age(newest.age_seconds(now))
        detail = f"{newest.backup.id} is verified, {age} old{planned}"
        if not newest.backup.lacks:
            return Finding("backups", "ok", detail)
        missing = ", ".join(each["name"] for each in newest.backup.lacks)
        return Finding(
            "backups", "warning", f"{detail}, but lacks {missing}", "owctl backup list says why"
        )
    if engine is None:
        return Finding("backups", "skipped", "no verified backup; is there data? Needs the engine")
    if not _has_data(engine, project):
        return Finding("backups", "ok", f"no backup, and no data yet{planned}")
    detail = none or "there is no verified backup"
    return Finding("backups", "warning", f"{detail} in {parent}{planned}", _HOW)


def check_backup_disk(project: str, project_dir: Path) -> tuple[Finding, ...]:
    """Return doctor's finding on the disk of the backups: is there room for one more?

    None where it is the project's own, of which the doctor tells anyway, and there is. Raises OwctlError.
    """
    from owctl.doctor.resources import PROJECT_BYTES, judge_disk

    parent = backups_of(project_dir, project)
    sizes = [
        each.manifest.size_bytes
        for each in list_backups(parent)
        if each.manifest is not None and each.manifest.project == project
    ]
    folder = next(each for each in (parent, *parent.parents) if each.is_dir())
    try:
        status, is_own = os.statvfs(folder), folder.stat().st_dev == project_dir.stat().st_dev
    except OSError:
        return ()
    next_bytes = int(sizes[-1] * _GROWTH) if sizes else 0
    free_bytes = status.f_bavail * status.f_frsize
    if is_own and free_bytes >= next_bytes:
        return ()
    warning, failed = PROJECT_BYTES
    found = judge_disk("the backups", folder, status, (max(warning, next_bytes), failed))
    # The stack runs without it, and a backup that has no room says so.
    found = replace(found, status="warning" if found.status == "failed" else found.status)
    if not sizes:
        return (found,)
    return (replace(found, detail=f"{found.detail}; the newest has {readable(sizes[-1])}"),)


def _late(schedule: Schedule, newest: Newest | None, now: datetime) -> str | None:
    """Return what is late, in words; None while the schedule is kept."""
    interval = schedule.timing.interval_seconds
    grace = min(max(interval / 4, _LEAST_GRACE_SECONDS), _MOST_GRACE_SECONDS)
    # A schedule that was made today owes nothing for yesterday.
    since = parse_time(schedule.created_at) or now
    if newest is not None:
        since = max(since, newest.created_at)
    if (now - since).total_seconds() <= interval + grace:
        return None
    if newest is None:
        return "no verified backup since the schedule was made"
    return f"the newest verified backup is {readable_age(newest.age_seconds(now))} old"


def _why_missed(schedule: Schedule) -> str:
    if schedule.line:
        return "owctl history; is the line that `owctl backup schedule` shows in the crontab?"
    service = Path(schedule.units[0]).name
    user = " --user" if schedule.manager == "user" else ""
    return f"owctl history, and systemctl{user} status {service}, which tell what went wrong"


def _has_data(engine: "Engine", project: str) -> bool:
    from owctl.engine.volumes import list_volumes

    return bool(list_volumes(engine, project))


def last_start(engine: "Engine", project: str, project_dir: Path) -> datetime | None:
    """Return when something of the project was last started; None where nothing tells.

    The containers say it, and for those that are gone the history does. Raises OwctlError.
    """
    from owctl.engine.containers import list_containers
    from owctl.project.history import read

    texts = [container.started_at or "" for container in list_containers(engine, project)]
    texts += [str(e["time"]) for e in read(project_dir) if e.get("command") in _STARTING]
    return max((time for text in texts if (time := parse_time(text)) is not None), default=None)
