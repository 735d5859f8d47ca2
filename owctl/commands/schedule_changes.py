"""Putting a schedule in place of the one before, or ending it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from owctl.context import Context
from owctl.errors import UsageError

if TYPE_CHECKING:
    from owctl.backup.schedule import Schedule, Timing
    from owctl.backup.schedule_text import Call


@dataclass(frozen=True, slots=True)
class Planned:
    """A schedule with the texts of its units (none for cron), not in place yet."""

    schedule: "Schedule"
    units: Mapping[str, str]

    def put_in_place(self, context: Context) -> None:
        """Write and enable the units, and remember the schedule; raises OwctlError."""
        from owctl.backup.schedule import write_schedule
        from owctl.backup.schedule_systemd import open_manager

        if self.units:
            open_manager(self.schedule.manager, context.environ).install(self.units)
        write_schedule(context.settings.project_dir, self.schedule)


def make_schedule(context: Context, timing: "Timing", arguments: Sequence[str]) -> Planned:
    """Return the schedule that the options ask for, once it is known that its run would work.

    Raises UsageError and ConfigurationError where it would not.
    """
    from owctl.backup import schedule_text
    from owctl.backup.schedule import Schedule, now_text
    from owctl.backup.schedule_systemd import find_manager, open_manager
    from owctl.commands.schedule_call import parse_backup_options, scheduled_call

    context.warn_of_files()
    values, words = parse_backup_options(context, arguments)
    call = scheduled_call(context, words)
    manager = find_manager(context.environ)
    if manager == "crontab" and timing.cron is None:
        raise UsageError(
            "--calendar needs systemd, which does not run here.",
            hint="--daily 02:00, or --weekly sun 02:00, for a crontab line",
        )
    units: dict[str, str] = {}
    folder = Path()
    if manager != "crontab":
        name = schedule_text.unit_name(call.project)
        units = {
            f"{name}.service": schedule_text.service_unit(call, is_system=manager == "system"),
            f"{name}.timer": schedule_text.timer_unit(call, timing),
        }
        folder = open_manager(manager, context.environ).folder
        _refuse_other_units(folder, units, call)
    only = values.get("only") or ""
    schedule = Schedule(
        project=call.project,
        timing=timing,
        manager=manager,
        command=call.words,
        parent=str(context.working_dir / values["output"]) if values.get("output") else None,
        parts=tuple(part.strip() for part in only.split(",") if part.strip()),
        created_at=now_text(),
        units=tuple(str(folder / unit) for unit in units),
        line=None if units else schedule_text.crontab_line(call, timing),
    )
    return Planned(schedule, units)


def end_schedule(context: Context, successor: Planned | None) -> "Schedule | None":
    """End the schedule that is in place, but for units that a successor overwrites; returns it.

    Raises OwctlError.
    """
    from owctl.backup.schedule import read_schedule, remove_schedule
    from owctl.backup.schedule_systemd import open_manager

    project_dir = context.settings.project_dir
    found = read_schedule(project_dir)
    if found is None:
        return None
    staying = set(successor.schedule.units) if successor else set()
    leaving = [Path(unit).name for unit in found.units if unit not in staying]
    if leaving:
        open_manager(found.manager, context.environ).remove(leaving)
    if successor is None:
        remove_schedule(project_dir)
    return found


def _refuse_other_units(folder: Path, units: Mapping[str, str], call: "Call") -> None:
    from owctl.backup.schedule_text import is_ours

    for name in units:
        path = folder / name
        if path.exists() and not is_ours(path.read_text(errors="replace"), call):
            raise UsageError(
                f"{path} is there already, and was not written for {call.working_dir}.",
                hint="owctl backup schedule --remove in the folder that its first line names",
            )
