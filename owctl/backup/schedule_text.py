"""A schedule as text: systemd's two units, and a line for cron, each with its own quoting."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from owctl.backup.schedule import Timing
from owctl.errors import UsageError

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
