"""A schedule: when backups are made, what its command line is, and where it is noted."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from owctl.errors import UsageError
from owctl.project.state import StateFile

# -- The times, and the record that doctor judges by.


DAY_SECONDS = 86400
Manager = Literal["system", "user", "crontab"]
# In cron's order.
WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Timing:
    """When to run, for systemd and for cron, in the machine's own time.

    ``cron`` is None where cron cannot say it. ``interval_seconds`` is the longest time between two
    runs, ``words`` is for people.
    """

    calendar: str
    cron: str | None
    interval_seconds: int
    words: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """What was scheduled. ``command`` is the whole command line, ``created_at`` ISO 8601 in UTC.

    ``parent`` is the folder of the backups, None for the project's own; ``parts`` are those that
    were asked for, none for all; ``units`` are the files written for systemd, ``line`` is cron's.
    """

    project: str
    timing: Timing
    manager: Manager
    command: tuple[str, ...]
    parent: str | None
    parts: tuple[str, ...]
    created_at: str
    units: tuple[str, ...] = ()
    line: str | None = None


def daily(time: str) -> Timing:
    """Return the timing of ``02:00`` every day; raises UsageError."""
    hour, minute = _parse_time(time, "--daily 02:00")
    return Timing(
        calendar=f"*-*-* {hour:02}:{minute:02}:00",
        cron=f"{minute} {hour} * * *",
        interval_seconds=DAY_SECONDS,
        words=f"every day at {hour:02}:{minute:02}",
    )


def weekly(day: str, time: str) -> Timing:
    """Return the timing of a weekday (``sun`` or ``Sunday``) and a time; raises UsageError."""
    hour, minute = _parse_time(time, "--weekly sun 02:00")
    found = [name for name in WEEKDAYS if day.lower() in (name.lower(), name[:3].lower())]
    if not found:
        raise UsageError(f"There is no weekday {day!r}.", hint="--weekly sun 02:00")
    (name,) = found
    return Timing(
        calendar=f"{name[:3]} *-*-* {hour:02}:{minute:02}:00",
        cron=f"{minute} {hour} * * {WEEKDAYS.index(name)}",
        interval_seconds=7 * DAY_SECONDS,
        words=f"every {name} at {hour:02}:{minute:02}",
    )


def now_text() -> str:
    """Return the time as it stands in the record."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _from_json(document: dict[str, object]) -> Schedule:
    fields = {name: value for name, value in document.items() if name in Schedule.__slots__}
    if fields["manager"] not in get_args(Manager):
        raise ValueError(f"unknown manager {fields['manager']!r}")
    timing = fields.pop("timing")
    if not isinstance(timing, dict):
        raise TypeError("timing is no object")
    for name in ("command", "parts", "units"):
        value = fields[name]
        if not isinstance(value, list):
            raise TypeError(f"{name} is no list")
        fields[name] = tuple(str(word) for word in value)
    return Schedule(timing=Timing(**timing), **fields)  # type: ignore[arg-type]


_FILE = StateFile(
    "schedule.json",
    parse=_from_json,
    render=asdict,
    remedy="rm {path}; then owctl backup schedule --daily 02:00, which writes it anew",
)
# Each of the project's folder.
read_schedule, write_schedule, remove_schedule = _FILE.read, _FILE.write, _FILE.remove


def _parse_time(text: str, example: str) -> tuple[int, int]:
    match = _TIME.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no time of day.", hint=example)
    return int(match[1]), int(match[2])


# -- As text: systemd's two units, and a line for cron, each with its own quoting.

_PLAIN = re.compile(r"[A-Za-z0-9_./:=@,+-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Call:
    """A command line to be run by itself: absolute, in its folder, with the variables it needs."""

    project: str
    working_dir: Path
    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raise UsageError for what no unit and no crontab can hold."""
        for text in (str(self.working_dir), *self.words, *self.environment.values()):
            if _CONTROL.search(text):
                raise UsageError(
                    f"{text!r} has a control character in it, which cannot be scheduled.",
                    hint="the same without it",
                )


def unit_name(project: str) -> str:
    """Return the units' name without its ending."""
    return f"owctl-backup-{project}"


def service_unit(call: Call, *, is_system: bool) -> str:
    """Return the service that makes one backup; it fails when the backup does."""
    after = "After=docker.service\n" if is_system else ""
    environment = "".join(
        f"Environment={_systemd(f'{name}={value}')}\n" for name, value in call.environment.items()
    )
    # The program's name is taken as it is: no variable is looked for in it.
    program, *words = call.words
    command = " ".join([_systemd(program), *(_systemd(word, "$") for word in words)])
    return (
        f"{_marker(call)}"
        "[Unit]\n"
        f"Description=Backup of the project {call.project} by owctl\n"
        f"{after}"
        "\n[Service]\n"
        "Type=oneshot\n"
        "Nice=10\n"
        f"WorkingDirectory={str(call.working_dir).replace('%', '%%')}\n"
        f"{environment}"
        f"ExecStart={command}\n"
    )


def timer_unit(call: Call, timing: Timing) -> str:
    """Return the timer of that service; a run that was missed is made up for."""
    return (
        f"{_marker(call)}"
        "[Unit]\n"
        f"Description=Timer for the backup of the project {call.project} by owctl\n"
        "\n[Timer]\n"
        f"OnCalendar={timing.calendar}\n"
        "Persistent=true\n"
        "RandomizedDelaySec=2min\n"
        "\n[Install]\n"
        "WantedBy=timers.target\n"
    )


def is_ours(text: str, call: Call) -> bool:
    """Return whether a unit was written for the same folder."""
    return text.startswith(_marker(call))


def crontab_line(call: Call, timing: Timing) -> str:
    """Return the line for this user's crontab; what goes wrong is on stderr, and so in a mail."""
    variables = [f"{name}={shlex.quote(value)}" for name, value in call.environment.items()]
    folder = shlex.quote(str(call.working_dir))
    command = f"cd {folder} && {' '.join(variables)} {shlex.join(call.words)} >/dev/null"
    # To cron a percent sign ends the command.
    escaped = command.replace("%", r"\%")
    return f"{timing.cron} {escaped}"


def _marker(call: Call) -> str:
    return (
        f"# Written by `owctl backup schedule` for {call.working_dir};\n"
        "# `owctl backup schedule --remove` there takes it away.\n"
    )


def _systemd(word: str, doubled: Sequence[str] = "") -> str:
    for character in ("%", *doubled):
        word = word.replace(character, character * 2)
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
