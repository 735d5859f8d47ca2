"""``owctl backup schedule``: what it shows and what it changes."""

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from owctl.commands.options import dry_run_option, examples, format_option, pass_context
from owctl.context import Context
from owctl.errors import UsageError
from owctl.figures import readable_age

if TYPE_CHECKING:
    from owctl.backup.schedule.schedule import Schedule, Timing
    from owctl.commands.backup.schedule_changes import Planned


# -- What is shown


_LABEL_WIDTH = 16


def show_schedule(context: Context, *, as_json: bool) -> None:
    """Print the schedule that is in place, when it runs next, and the newest verified backup."""
    from owctl.backup.schedule.schedule import read_schedule

    schedule = read_schedule(context.settings.project_dir)
    state = _state(context, schedule) if schedule else {}
    if as_json:
        more = _for_programs(context, schedule, state) if schedule else {}
        _json(context, schedule, {**state, **more})
        return
    if schedule is None:
        context.console.result("There is no schedule: owctl backup schedule --daily 02:00")
        return
    rows = {"when": schedule.timing.words, "by": _by(schedule)}
    rows |= {name.replace("_", " "): text for name, text in state.items() if text}
    rows["runs"] = shlex.join(schedule.command)
    if schedule.line:
        rows["crontab line"] = schedule.line
    for name, text in rows.items():
        context.console.result(f"{name + ':':{_LABEL_WIDTH}}{text}")


def show_plan(context: Context, planned: "Planned | None", *, as_json: bool) -> None:
    """Print what would be written, or removed."""
    from owctl.backup.schedule.schedule import read_schedule

    schedule = planned.schedule if planned else None
    if as_json:
        _json(context, schedule, {}, dry_run=True)
        return
    console = context.console
    if planned is None or schedule is None:
        found = read_schedule(context.settings.project_dir)
        words = f"Would end the schedule: {found.timing.words}." if found else "Nothing to end."
        console.result(words)
        return
    for path, text in zip(schedule.units, planned.units.values(), strict=True):
        console.result(f"# {path}\n{text}")
    if schedule.line:
        console.result(schedule.line)


def changed(
    context: Context, schedule: "Schedule | None", ended: "Schedule | None", *, as_json: bool
) -> None:
    """Print what was done, and what is left for the user to do."""
    console = context.console
    if ended is not None and ended.line and (schedule is None or schedule.line != ended.line):
        console.warn(f"the crontab still has the old line, unless you remove it: {ended.line}")
    if schedule is not None:
        _say_what_is_left(context, schedule)
    if as_json:
        _json(context, schedule, {})
    elif schedule is None:
        console.result("The schedule has ended." if ended else "There was no schedule.")
    else:
        console.result(
            schedule.line or f"Backups are made {schedule.timing.words}: {schedule.units[-1]}"
        )


def _say_what_is_left(context: Context, schedule: "Schedule") -> None:
    from owctl.backup.schedule.systemd import lingers

    if schedule.line:
        context.console.info(
            "No systemd runs here that could do it. Add this line to the crontab (crontab -e):"
        )
    if schedule.manager == "user" and not lingers():
        context.console.warn(
            "the timer runs only while you are logged in; `loginctl enable-linger` changes that"
        )


def _state(context: Context, schedule: "Schedule") -> dict[str, str]:
    from owctl.backup.freshness import newest_verified, required_parts
    from owctl.backup.schedule.systemd import open_manager

    parent = _folder(context, schedule)
    newest = newest_verified(parent, schedule.project, required_parts(schedule))
    text = f"none in {parent}"
    if newest is not None:
        age = f"{readable_age(newest.age_seconds(datetime.now(UTC)))} old"
        if newest.backup.is_future:
            age = "dated in the future"
        text = f"{newest.backup.id}, verified, {age}, in {parent}"
    state = {"newest_backup": text}
    if schedule.units:
        manager = open_manager(schedule.manager, context.environ)
        service, timer = (Path(unit).name for unit in schedule.units)
        state["missing"] = ", ".join(unit for unit in schedule.units if not Path(unit).exists())
        state["next_run"] = manager.property(timer, "NextElapseUSecRealtime")
        state["last_result"] = manager.property(service, "Result")
    return state


def _for_programs(
    context: Context, schedule: "Schedule", state: dict[str, str]
) -> dict[str, object]:
    """Return what ``state`` says in words, as values."""
    from owctl.backup.freshness import newest_verified, required_parts
    from owctl.backup.schedule.systemd import elapse_time

    folder = _folder(context, schedule)
    newest = newest_verified(folder, schedule.project, required_parts(schedule))
    found: dict[str, object] = {
        "newest_verified": None
        if newest is None
        else {
            "id": newest.backup.id,
            "path": str(newest.backup.path),
            "created_at": newest.backup.read_manifest().created_at,
        }
    }
    if "next_run" in state:
        found["next_run_at"] = elapse_time(state["next_run"])
    return found


def _folder(context: Context, schedule: "Schedule") -> Path:
    from owctl.backup.catalogue import FOLDER_NAME

    return Path(schedule.parent or context.settings.project_dir / FOLDER_NAME)


def _by(schedule: "Schedule") -> str:
    if schedule.line:
        return "cron, once the line below stands in the crontab"
    return f"systemd, {schedule.units[-1]}"


def _json(
    context: Context,
    schedule: "Schedule | None",
    state: Mapping[str, object],
    *,
    dry_run: bool = False,
) -> None:
    document: dict[str, Any] | None = None
    if schedule is not None:
        document = {
            "when": schedule.timing.words,
            "calendar": schedule.timing.calendar,
            "interval_seconds": schedule.timing.interval_seconds,
            "manager": schedule.manager,
            "command": list(schedule.command),
            "units": list(schedule.units),
            "crontab_line": schedule.line,
            "created_at": schedule.created_at,
            **state,
        }
    project = context.stack.project
    context.console.document(project, dry_run=dry_run, schedule=document)


# -- owctl backup schedule


_EXAMPLES = examples(
    "owctl backup schedule --daily 02:00 -- --keep-daily 7",
    "owctl backup schedule --weekly sun 03:30 --dry-run",
    "owctl backup schedule --show",
    "owctl backup schedule --remove",
)


@click.command("schedule", epilog=_EXAMPLES)
@click.option("--daily", metavar="HH:MM", help="Every day at that time, the machine's own.")
@click.option("--weekly", nargs=2, metavar="DAY HH:MM", help="Every week: --weekly sun 02:00.")
@click.option("--calendar", metavar="SPEC", help="As systemd writes it: 'Mon..Fri 02:00'.")
@click.option("--show", is_flag=True, help="Show the schedule; what no option at all does, too.")
@click.option("--remove", is_flag=True, help="End the schedule.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- BACKUP-OPTIONS]")
@dry_run_option
@format_option("table", "json")
@pass_context
def backup_schedule(
    context: Context,
    daily: str | None,
    weekly: tuple[str, str] | None,
    calendar: str | None,
    show: bool,
    remove: bool,
    arguments: tuple[str, ...],
    dry_run: bool,
    output_format: str,
) -> None:
    """Make backups by themselves, at set times.

    Where systemd runs, a timer is written and enabled; elsewhere a line for cron is printed. What
    stands after -- is handed to every `owctl backup`, such as -- --keep-daily 7.
    """

    from owctl.commands.backup.schedule_changes import end_schedule, make_schedule
    from owctl.commands.mutation import folder_mutation

    if sum(each not in (None, False) for each in (daily, weekly, calendar, remove, show)) > 1:
        raise UsageError(
            "--daily, --weekly, --calendar, --show and --remove exclude each other.",
            hint="owctl backup schedule --daily 02:00",
        )
    as_json = output_format == "json"
    timing = _timing(daily, weekly, calendar)
    if timing is None and arguments:
        raise UsageError(
            f"No time is given for a backup with {' '.join(arguments)}.",
            hint=f"owctl backup schedule --daily 02:00 -- {' '.join(arguments)}",
        )
    if timing is None and not remove:
        show_schedule(context, as_json=as_json)
        return
    planned = make_schedule(context, timing, arguments) if timing is not None else None
    if dry_run:
        show_plan(context, planned, as_json=as_json)
        return
    with folder_mutation(context, "backup schedule", context.settings.project_dir):
        ended = end_schedule(context, planned)
        if planned is not None:
            planned.put_in_place(context)
    changed(context, planned.schedule if planned else None, ended, as_json=as_json)


def _timing(
    daily: str | None, weekly: tuple[str, str] | None, calendar: str | None
) -> "Timing | None":
    from owctl.backup.schedule import schedule
    from owctl.backup.schedule.systemd import by_calendar

    if daily is not None:
        return schedule.daily(daily)
    if weekly:
        return schedule.weekly(*weekly)
    return by_calendar(calendar) if calendar is not None else None
