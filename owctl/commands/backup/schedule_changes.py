"""A schedule made, ended and put in the place of another: its call, its units, its crontab line."""

import os
import pwd
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from owctl.context import Context
from owctl.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from owctl.backup.schedule.schedule import Call, Schedule, Timing


# -- The command line of a scheduled backup


LOCK_WAIT_SECONDS = 3600
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What decides which engine is used; none of it is a secret.
_HANDED_ON = ("DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
_NO_BACKUP = {"--help", "-h", "--dry-run"}


def parse_backup_options(
    context: Context, arguments: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Let `owctl backup` itself parse its options; return their values, and the words to run.

    Raises click's usage errors and UsageError for what it would not take.
    """
    from owctl.backup.notify import check_address
    from owctl.commands.backup.create import backup_create, chosen_parts

    words = _absolute_output(arguments, context.working_dir)
    if refused := _NO_BACKUP & set(words):
        raise UsageError(f"{refused.pop()} makes no backup.", hint="the command without it")
    with backup_create.make_context("backup", list(words)) as parsed:
        values = dict(parsed.params)
        lock_wait = parsed.get_parameter_source("lock_wait_seconds")
    chosen_parts(values.get("only"))
    if values.get("ping_url"):
        check_address(values["ping_url"])
    if lock_wait is not click.core.ParameterSource.COMMANDLINE:
        words = ["--lock-wait", str(LOCK_WAIT_SECONDS), *words]
    return values, words


def scheduled_call(context: Context, words: Sequence[str]) -> "Call":
    """Return the whole call, once it is known that it finds the same project by itself.

    Raises UsageError where a secret would stand in it, ConfigurationError where it would not do.
    """
    from owctl.backup.schedule.schedule import Call

    project = context.stack.project
    program = _program(sys.argv[0])
    variables = _variables(context.environ, Path(program[0]).parent)
    options = _global_options(context, project)
    call = Call(
        project,
        context.settings.project_dir,
        (*program, "-q", *options, "backup", "create", *words),
        variables,
    )
    call.check()
    if any(context.console.mask(word) != word for word in (*call.words, *variables.values())):
        raise UsageError(
            "A secret of the stack would stand in the schedule, readable by everybody.",
            hint="the secret in .env, and none in the options of the backup",
        )
    _check_alone(context, call)
    return call


def _absolute_output(arguments: Sequence[str], working_dir: Path) -> list[str]:
    # The run has another working folder than the shell that it was scheduled from.
    words: list[str] = []
    for word in arguments:
        if words and words[-1] == "--output":
            words.append(str((working_dir / word).resolve()))
        elif word.startswith("--output="):
            words.append(f"--output={(working_dir / word.partition('=')[2]).resolve()}")
        else:
            words.append(word)
    return words


def _global_options(context: Context, project: str) -> list[str]:
    """Return what flags and variables of this shell decide; what files say is left to them."""
    settings, flags, environ = context.settings, context.flags, context.environ
    options = ["-C", str(settings.project_dir)]
    if flags.files or environ.get("COMPOSE_FILE"):
        options += _repeated("-f", settings.compose_files)
    if flags.environment_files or environ.get("COMPOSE_ENV_FILES"):
        options += _repeated("--env-file", settings.environment_files)
    if flags.project_name or environ.get("COMPOSE_PROJECT_NAME"):
        options += ["-p", project]
    if flags.profiles or environ.get("COMPOSE_PROFILES"):
        options += _repeated("--profile", settings.profiles)
    if settings.docker_context:
        options += ["--context", settings.docker_context]
    return options


def _variables(environ: Mapping[str, str], program_dir: Path) -> dict[str, str]:
    variables = {"PATH": f"{program_dir}:{_PATH}", "HOME": _home(environ)}
    variables |= {name: environ[name] for name in _HANDED_ON if environ.get(name)}
    locks = environ.get("XDG_RUNTIME_DIR")
    if locks and locks != f"/run/user/{os.geteuid()}":
        # The lock has to be that of the commands that are typed.
        variables["XDG_RUNTIME_DIR"] = locks
    return variables


def _check_alone(context: Context, call: "Call") -> None:
    """Raise ConfigurationError where the run would not find the same stack by itself."""
    from owctl.compose.loader import load
    from owctl.settings import Flags, Settings

    settings = context.settings
    flags = Flags(
        project_dir=settings.project_dir,
        files=settings.compose_files if "-f" in call.words else (),
        environment_files=settings.environment_files if "--env-file" in call.words else (),
        project_name=call.project if "-p" in call.words else None,
        profiles=settings.profiles if "--profile" in call.words else (),
    )
    hint = "what this shell sets with `export`, in .env instead"
    try:
        found = load(Settings.load(flags, call.environment, call.working_dir))
    except ConfigurationError as error:
        error.message = f"The scheduled backup could not read the project. {error.message}"
        error.hint = hint
        raise
    if (found.project, set(found.services)) != (call.project, set(context.stack.services)):
        raise ConfigurationError(
            f"The scheduled backup would find the project {found.project} with the services "
            f"{', '.join(found.services)}, which is not what this shell finds.",
            hint=hint,
        )


def _repeated(option: str, values: Iterable[object]) -> list[str]:
    return [word for value in values for word in (option, str(value))]


def _program(invoked: str) -> list[str]:
    """Return how this owctl is called from anywhere; links are kept, as an upgrade moves them."""
    found = invoked if "/" in invoked else shutil.which(invoked)
    if not found or Path(found).name == "__main__.py":
        return [sys.executable, "-m", "owctl"]
    return [os.path.abspath(found)]  # noqa: PTH100  # resolve() would follow links


def _home(environ: Mapping[str, str]) -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return environ.get("HOME") or "/"


# -- Putting a schedule in place, or ending it


@dataclass(frozen=True, slots=True)
class Planned:
    """A schedule with the texts of its units (none for cron), not in place yet."""

    schedule: "Schedule"
    units: Mapping[str, str]

    def put_in_place(self, context: Context) -> None:
        """Write and enable the units, and remember the schedule; raises OwctlError."""
        from owctl.backup.schedule.schedule import write_schedule
        from owctl.backup.schedule.systemd import open_manager

        if self.units:
            open_manager(self.schedule.manager, context.environ).install(self.units)
        write_schedule(context.settings.project_dir, self.schedule)


def make_schedule(context: Context, timing: "Timing", arguments: Sequence[str]) -> Planned:
    """Return the schedule that the options ask for, once it is known that its run would work.

    Raises UsageError and ConfigurationError where it would not.
    """
    from owctl.backup.schedule import schedule
    from owctl.backup.schedule.schedule import Schedule, now_text
    from owctl.backup.schedule.systemd import find_manager, open_manager

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
        name = schedule.unit_name(call.project)
        units = {
            f"{name}.service": schedule.service_unit(call, is_system=manager == "system"),
            f"{name}.timer": schedule.timer_unit(call, timing),
        }
        folder = open_manager(manager, context.environ).folder
        _refuse_other_units(folder, units, call)
    only = values.get("only") or ""
    planned = Schedule(
        project=call.project,
        timing=timing,
        manager=manager,
        command=call.words,
        parent=str(context.working_dir / values["output"]) if values.get("output") else None,
        parts=tuple(part.strip() for part in only.split(",") if part.strip()),
        created_at=now_text(),
        units=tuple(str(folder / unit) for unit in units),
        line=None if units else schedule.crontab_line(call, timing),
    )
    return Planned(planned, units)


def end_schedule(context: Context, successor: Planned | None) -> "Schedule | None":
    """End the schedule that is in place, but for units that a successor overwrites; returns it.

    Raises OwctlError.
    """
    from owctl.backup.schedule.schedule import read_schedule, remove_schedule
    from owctl.backup.schedule.systemd import open_manager

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
    from owctl.backup.schedule.schedule import is_ours

    for name in units:
        path = folder / name
        if path.exists() and not is_ours(path.read_text(errors="replace"), call):
            raise UsageError(
                f"{path} is there already, and was not written for {call.working_dir}.",
                hint="owctl backup schedule --remove in the folder that its first line names",
            )
