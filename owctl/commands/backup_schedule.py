"""``owctl backup schedule``: a timer of systemd's, or a line for cron, that makes backups."""

from typing import TYPE_CHECKING

import click

from owctl.commands.options import dry_run_option, examples, format_option, pass_context
from owctl.context import Context
from owctl.errors import UsageError

if TYPE_CHECKING:
    from owctl.backup.schedule import Timing

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
    from owctl.commands import schedule_report as report
    from owctl.commands.mutation import folder_mutation
    from owctl.commands.schedule_changes import end_schedule, make_schedule

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
        report.show(context, as_json=as_json)
        return
    planned = make_schedule(context, timing, arguments) if timing is not None else None
    if dry_run:
        report.plan(context, planned, as_json=as_json)
        return
    with folder_mutation(context, "backup schedule", context.settings.project_dir):
        ended = end_schedule(context, planned)
        if planned is not None:
            planned.put_in_place(context)
    report.changed(context, planned.schedule if planned else None, ended, as_json=as_json)


def _timing(
    daily: str | None, weekly: tuple[str, str] | None, calendar: str | None
) -> "Timing | None":
    from owctl.backup import schedule
    from owctl.backup.schedule_systemd import by_calendar

    if daily is not None:
        return schedule.daily(daily)
    if weekly:
        return schedule.weekly(*weekly)
    return by_calendar(calendar) if calendar is not None else None
