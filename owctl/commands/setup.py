"""``owctl setup``: a new ``.env`` with generated secrets, passwords put in line with the database, and what a newer owctl would write."""

import os
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from owctl import __version__
from owctl.commands.options import Run, examples, mutating
from owctl.context import Context
from owctl.errors import ConfigurationError, EngineUnavailable, OwctlError, UsageError
from owctl.ui.console import json_document

if TYPE_CHECKING:
    from owctl.postgres.login import Outcome
    from owctl.project.setup_diff import SetupDifference
    from owctl.project.setup_plan import SetupPlan, SetupRequest


# -- ``owctl setup --diff``: what a newer owctl would ship, as a patch; nothing is changed.


# As diff does.
DIFFERS = 1
_DIFFERENCE_SENTENCES = {
    "same": "",
    "owctl": "owctl changed it; you did not.",
    "you": "you changed it; there is nothing new from owctl.",
    "both": "owctl changed it, and so did you; the diff is owctl's part alone.",
    "unknown": "it differs. What owctl had shipped is not on record, so your own changes are shown as "
    "well, as removed lines.",
    "missing": "owctl ships it; it is not here.",
}


def show_difference(context: Context, *, as_json: bool) -> int:
    """Print what is to be taken over from this owctl; returns 0 for nothing, 1 for something."""
    from owctl.environment.masking import Mask, secret_values
    from owctl.project.setup_diff import compare
    from owctl.project.setup_plan import load_setup_settings

    settings = load_setup_settings(context.flags, context.environ, context.working_dir)
    directory, files = settings.project_dir, settings.environment_files
    environment_file = files[0] if files else directory / ".env"
    if not environment_file.exists():
        raise UsageError(f"{directory} was not set up: there is no .env.", hint="owctl setup")
    context.console.mask = Mask(secret_values(settings.environment))
    try:
        # From here on the console masks what the compose files hold, too.
        project = context.stack.project
    except ConfigurationError:
        project = None
    found = compare(directory, environment_file)
    if as_json:
        context.console.json(_difference_document(found, project, str(directory)))
    else:
        _show_difference(context, found)
    return DIFFERS if found.differs else 0


def _difference_document(
    found: "SetupDifference", project: str | None, directory: str
) -> dict[str, object]:
    return json_document(
        project,
        directory=directory,
        owctl_version=__version__,
        base_version=found.base_version,
        ours=found.is_ours,
        differs=found.differs,
        files=[asdict(file) for file in found.files],
        variables=[asdict(variable) for variable in found.variables],
        environment_diff=found.environment_diff,
    )


def _show_difference(context: Context, found: "SetupDifference") -> None:
    console = context.console
    if not found.is_ours:
        console.info("The compose files here are not owctl's: there is nothing to compare.")
        return
    since = found.base_version or "an owctl that kept no record"
    console.info(f"Set up by {since}; this is {__version__}.")
    for file in found.files:
        if file.diff or file.status == "you":
            console.info(f"{file.path}: {_DIFFERENCE_SENTENCES[file.status]}")
    for status, words in (
        ("new", "variables that .env does not have"),
        ("default", "variables with another default"),
        ("dropped", "variables that nothing reads any more"),
    ):
        names = [variable.name for variable in found.variables if variable.status == status]
        if names:
            console.info(f".env: {words}: {', '.join(names)}")
    if not found.differs:
        console.info("There is nothing to take over.")
        return
    console.result(found.patch.removesuffix("\n"))
    if any(file.status == "unknown" for file in found.files):
        console.info(
            "Nothing was changed. Take over by hand what you want: patch would undo yours."
        )
        return
    console.info(
        "Nothing was changed. To take it over: owctl setup --diff | patch -p1 in the project's folder, "
        "then owctl start --dry-run."
    )


# -- ``owctl setup``: a new ``.env`` with generated secrets, and passwords put in line with the database.


# -- owctl setup --sync-password


_SENTENCES: "dict[Outcome, str]" = {
    "unchanged": "The database of {} accepts POSTGRES_PASSWORD already; nothing was changed.",
    "changed": "The database of {} accepts POSTGRES_PASSWORD of .env now: a login with it worked.",
    "would change": "Would make the database of {} accept POSTGRES_PASSWORD of .env.",
}


def synchronise(context: Context, how: Run) -> None:
    """Change the database's password, under the project's lock, and say what was done."""
    from owctl.commands.mutation import mutation
    from owctl.postgres.login import sync_password
    from owctl.postgres.place import require_database
    from owctl.project.ownership import check_owner

    stack, engine = context.stack, context.engine
    hint = "owctl config shows the stack's services"
    service = require_database(stack, "", hint=hint).service
    if how.dry_run:
        outcome = sync_password(engine, stack, service, dry_run=True)
    else:
        with mutation(context, "setup --sync-password", how.lock_wait_seconds):
            check_owner(engine, stack.project, stack.working_dir, adopt=False)
            outcome = sync_password(engine, stack, service)
    if how.as_json:
        context.console.document(
            stack.project, service=service.name, dry_run=how.dry_run, password=outcome
        )
        return
    context.console.result(_SENTENCES[outcome].format(service.name))
    if outcome == "changed":
        context.console.info("Next: owctl start, which gives the services the same password.")


# -- owctl setup


_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WOULD = {"created": "create", "updated": "update", "restricted": "restrict", "kept": "keep"}

_EXAMPLES = examples(
    "owctl setup",
    "owctl setup --set OPEN_WEBUI_PORT=8000",
    "owctl setup --dry-run",
    "owctl setup --diff",
    "owctl -C /srv/chat setup",
)


@click.command(epilog=_EXAMPLES)
@click.option("--demo", is_flag=True, help="Write the demonstration: a stack that is built here.")
@click.option("--adopt", is_flag=True, help="Take over a project that another folder made.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Put a variable into .env (repeatable).",
)
@click.option(
    "--sync-password",
    is_flag=True,
    help="Only make the running database accept POSTGRES_PASSWORD of .env.",
)
@click.option(
    "--diff",
    is_flag=True,
    help="Only show what this owctl ships otherwise than you have it, as a patch. Exits with 1 if "
    "there is something.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@mutating()
def setup(
    context: Context,
    demo: bool,
    adopt: bool,
    assignments: tuple[str, ...],
    sync_password: bool,
    diff: bool,
    how: Run,
) -> int:
    """Write .env with generated secrets, and compose files if none.

    A .env that exists only gets what is missing; no file of yours is overwritten. Secrets that a
    database or a container already uses are kept.

    After an upgrade of owctl, --diff shows what is new in the files that setup wrote: only what owctl
    changed, where it knows what it had written. It changes nothing; `patch -p1` takes it over.
    """
    if diff:
        if demo or adopt or assignments or sync_password or how.dry_run:
            raise UsageError(
                "--diff only looks: it goes with no other wish.", hint="owctl setup --diff"
            )

        return show_difference(context, as_json=how.as_json)
    if sync_password:
        if demo or adopt or assignments:
            raise UsageError(
                "--sync-password takes .env as it is: it goes with no other wish.",
                hint="owctl setup first, then owctl setup --sync-password",
            )

        synchronise(context, how)
        return 0
    from owctl.environment.masking import Mask, secret_values
    from owctl.project.lock import folder_lock
    from owctl.project.secret_choice import SECRET_NAMES
    from owctl.project.setup_plan import SetupRequest, apply_setup, load_setup_settings

    started = time.monotonic()
    settings = load_setup_settings(context.flags, context.environ, context.working_dir)
    request = SetupRequest(
        settings=settings,
        shell=context.environ,
        demo=demo,
        adopt=adopt,
        assignments=_parse_assignments(assignments),
        project_name=context.flags.project_name,
    )
    known = {name: settings.environment.get(name) for name in SECRET_NAMES}
    context.console.mask = Mask(secret_values({**known, **request.assignments}))
    if how.dry_run:
        plan = _plan(request)
    else:
        with folder_lock(settings.project_dir, "setup", wait_seconds=how.lock_wait_seconds):
            plan = _plan(request)
            apply_setup(plan)
            _remember(context, plan)
    if plan.changes and not how.dry_run:
        _record(context, plan, round((time.monotonic() - started) * 1000))
    if how.as_json:
        context.console.json(_document(plan, how.dry_run))
    else:
        _show(context, plan, how.dry_run)
    return 0


def _parse_assignments(words: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator or not _KEY.fullmatch(key):
            # The word is not quoted: what stands there may be a secret.
            raise UsageError(
                "--set takes KEY=VALUE, the key of letters, digits and _.",
                hint="owctl setup --set OPEN_WEBUI_PORT=8000",
            )
        if any(character in value for character in "\r\n\0"):
            raise UsageError(f"The value of {key} has a line break.", hint="a value of one line")
        if found.get(key, value) != value:
            raise UsageError(f"--set gives {key} two values.", hint=f"--set {key}=… once")
        found[key] = value
    return found


def _plan(request: "SetupRequest") -> "SetupPlan":
    """Plan with the engine, or without where none answers: setup works, and says so."""
    from owctl.engine.connection import Engine
    from owctl.project.setup import plan_setup

    try:
        engine = Engine.connect(request.settings.docker_context, request.shell)
    except EngineUnavailable as error:
        return plan_setup(request, None, error.message)
    with engine:
        return plan_setup(request, engine)


def _remember(context: Context, plan: "SetupPlan") -> None:
    """Keep what was shipped, for --diff after an upgrade; a setup does not fail for it."""
    from owctl import __version__
    from owctl.project.setup_diff import remember_shipped

    fresh = any(file.action == "created" and file.path.name == ".env" for file in plan.files)
    try:
        remember_shipped(plan.directory, __version__, new_environment=fresh)
    except OwctlError as error:
        context.console.warn(f"What setup wrote is not on record for --diff. {error.message}")


def _record(context: Context, plan: "SetupPlan", duration_ms: int) -> None:
    from owctl.project.history import record

    warning = record(
        plan.directory,
        "setup",
        "done",
        arguments=sys.argv[1:],
        duration_ms=duration_ms,
        mask=context.console.mask,
        environ=context.environ,
    )
    if warning:
        context.console.warn(warning)


def _document(plan: "SetupPlan", dry_run: bool) -> dict[str, object]:
    return json_document(
        plan.project,
        directory=str(plan.directory),
        dry_run=dry_run,
        files=[
            {"path": _relative(file.path, plan.directory), "action": file.action}
            for file in plan.files
        ],
        generated=list(plan.generated),
        kept=list(plan.kept),
        notes=list(plan.notes),
    )


def _show(context: Context, plan: "SetupPlan", dry_run: bool) -> None:
    console = context.console
    named = f"Project {plan.project}" if plan.project else "The project"
    console.result(f"{named} in {plan.directory}")
    for line in _file_lines(plan, dry_run):
        console.result(f"  {line}")
    titles = ("Would generate", "Would keep") if dry_run else ("Generated", "Kept")
    for title, names in zip(titles, (plan.generated, plan.kept), strict=True):
        if names:
            console.result(f"{title}: {', '.join(names)}")
    if not plan.changes:
        console.result("Nothing to do.")
    for note in plan.notes:
        console.info(f"Note: {note}")
    where = "" if plan.directory == context.working_dir else f"-C {plan.directory} "
    console.info(f"Next: owctl {where}start" if not dry_run else "Nothing was changed: --dry-run.")


def _file_lines(plan: "SetupPlan", dry_run: bool) -> list[str]:
    """Return a line for each file, the many below a folder together as one."""
    counts: dict[tuple[str, str], int] = {}
    for file in plan.files:
        action = f"would {_WOULD[file.action]}" if dry_run else file.action
        path = _relative(file.path, plan.directory)
        first, separator, _ = path.partition(os.sep)
        key = (action, f"{first}/" if separator and not path.startswith(os.sep) else path)
        counts[key] = counts.get(key, 0) + 1
    width = max(len(action) for action, _ in counts)
    return [
        f"{action:<{width}}  {name}" + (f" ({count} files)" if name.endswith("/") else "")
        for (action, name), count in counts.items()
    ]


def _relative(path: Path, directory: Path) -> str:
    return str(path.relative_to(directory)) if path.is_relative_to(directory) else str(path)
