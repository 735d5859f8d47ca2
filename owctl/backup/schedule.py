"""When backups are to be made by themselves: the times, and the record that doctor judges by."""

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from owctl.errors import OwctlError, UsageError
from owctl.project.private_file import PRIVATE_MODE, cannot, create_file, replace_file

FOLDER = ".owctl"
FILE = "schedule.json"
SCHEMA = 1
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


def read_schedule(project_dir: Path) -> Schedule | None:
    """Return the schedule of the project in a folder, None where there is none.

    Raises OwctlError if it cannot be read.
    """
    path = project_dir / FOLDER / FILE
    try:
        return _from_json(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise cannot("read", path, error) from error
    except (ValueError, KeyError, TypeError) as error:
        raise OwctlError(
            f"{path} is damaged: {error}.",
            hint=f"rm {path}; then owctl backup schedule --daily 02:00, which writes it anew",
        ) from error


def write_schedule(project_dir: Path, schedule: Schedule) -> None:
    """Remember a schedule in place of the one before; raises OwctlError."""
    document = {"schema": SCHEMA, **asdict(schedule)}
    data = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
    path = project_dir / FOLDER / FILE
    try:
        before = path.read_bytes()
    except FileNotFoundError:
        create_file(path, data, mode=PRIVATE_MODE)
    except OSError as error:
        raise cannot("read", path, error) from error
    else:
        replace_file(path, data, expected=before)


def remove_schedule(project_dir: Path) -> None:
    """Forget the schedule; none is no error. Raises OwctlError."""
    path = project_dir / FOLDER / FILE
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot("remove", path, error) from error


def now_text() -> str:
    """Return the time as it stands in the record."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _from_json(document: dict[str, object]) -> Schedule:
    if document["schema"] != SCHEMA:
        raise ValueError(f"it has schema {document['schema']}, this owctl knows {SCHEMA}")
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


def _parse_time(text: str, example: str) -> tuple[int, int]:
    match = _TIME.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no time of day.", hint=example)
    return int(match[1]), int(match[2])
