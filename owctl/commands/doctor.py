"""``owctl doctor``: what can go wrong, before it does."""

from functools import partial
from typing import TYPE_CHECKING

import click

from owctl.commands.options import examples, format_option, ignore_option, pass_context
from owctl.context import Context
from owctl.doctor.finding import CHECKS
from owctl.errors import ConfigurationError, EngineUnavailable, OwctlError

if TYPE_CHECKING:
    from owctl.compose.model import Stack
    from owctl.doctor.examine import MoreChecks
    from owctl.doctor.finding import CheckName, Finding, Report
    from owctl.engine.connection import Engine
    from owctl.settings import Settings

_STYLES = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}
FAILED = 1
_SHOWN_PROBLEMS = 2

_EXAMPLES = examples(
    "owctl doctor",
    "owctl doctor --ignore disk --ignore images",
    "owctl doctor --json",
)


@click.command(epilog=_EXAMPLES)
@ignore_option(CHECKS)
@format_option("table", "json")
@pass_context
def doctor(context: Context, ignore: tuple[str, ...], output_format: str) -> int:
    """Look for what can go wrong: engine, ports, disk, .env, images, database.

    Changes nothing. Exits with 0 if there is nothing worse than warnings, 1 for a hard finding, 4
    if the compose files cannot be used, 5 if no engine answers.
    """
    from owctl.doctor.examine import examine

    known: list[Finding] = []
    settings = _settings(context, known)
    stack = _stack(context, known) if settings else None
    engine = _engine(context, settings, known)
    if settings is not None and stack is not None and "backups" not in ignore:
        from owctl.backup.freshness import check_backups

        known.extend(check_backups(engine, stack, settings.project_dir))
    if settings is not None and stack is not None and "disk" not in ignore:
        known += _backup_disk(stack.project, settings)
    if stack is not None and "postgres-version" not in ignore:
        from owctl.upgrade.postgres.swap import check_kept

        kept = check_kept(stack.working_dir)
        known += [kept] if kept is not None else []
    more: MoreChecks | None = None
    if settings is not None:
        from owctl.backup.lost_data import check_lost_data

        more = {("lost-data",): partial(check_lost_data, project_dir=settings.project_dir)}
    report = examine(settings, stack, engine, known=known, ignore=ignore, more=more)
    if output_format == "json":
        context.console.json(report.to_json())
    else:
        _show(context, report)
    if report.failed("engine") and engine is None:
        return EngineUnavailable.exit_code
    if report.failed("configuration"):
        return ConfigurationError.exit_code
    return FAILED if report.status == "failed" else 0


def _backup_disk(project: str, settings: "Settings") -> "tuple[Finding, ...]":
    from owctl.backup.freshness import check_backup_disk

    try:
        return check_backup_disk(project, settings.project_dir)
    except OwctlError:
        # The check of the backups says what is wrong with their folder.
        return ()


def _settings(context: Context, known: "list[Finding]") -> "Settings | None":
    try:
        settings = context.settings
    except OwctlError as error:
        known.append(_finding("configuration", error))
        return None
    from owctl.environment.masking import Mask, secret_values

    # Until the stack tells which of its words are public; it may not load at all.
    context.console.mask = Mask(secret_values(settings.environment))
    return settings


def _stack(context: Context, known: "list[Finding]") -> "Stack | None":
    try:
        return context.stack
    except OwctlError as error:
        known.append(_finding("configuration", error))
        return None


def _engine(
    context: Context, settings: "Settings | None", known: "list[Finding]"
) -> "Engine | None":
    from owctl.engine.connection import Engine

    try:
        if settings is None:
            # The choice of an engine does not depend on the project's files.
            named = context.flags.context or context.environ.get("DOCKER_CONTEXT")
            context.engine = Engine.connect(named or None, context.environ)
        return context.engine
    except OwctlError as error:
        known.append(_finding("engine", error))
        return None


def _finding(check: "CheckName", error: OwctlError) -> "Finding":
    from owctl.doctor.finding import Finding

    detail = "; ".join([error.message.rstrip("."), *error.details[:_SHOWN_PROBLEMS]])
    more = len(error.details) - _SHOWN_PROBLEMS
    if more > 0:
        detail += f"; and {more} more"
    return Finding(check, "failed", detail, error.hint)


def _show(context: Context, report: "Report") -> None:
    from owctl.ui.table import Cell, Column

    console = context.console
    rows = [
        [
            finding.check,
            Cell(finding.status, _STYLES[finding.status]),
            finding.detail,
        ]
        for finding in report.findings
    ]
    console.table([Column("CHECK"), Column("STATUS"), Column("DETAIL", narrow="fold")], rows)
    for finding in report.findings:
        if finding.hint and finding.status in ("warning", "failed"):
            console.result(f"Try ({finding.check}): {finding.hint}")
    count = {
        status: sum(finding.status == status for finding in report.findings)
        for status in ("failed", "warning", "skipped")
    }
    found = ", ".join(f"{number} {status}" for status, number in count.items() if number)
    console.info(f"{report.project or 'The project'}: {found or 'everything is fine'}")
