"""Which checks the doctor makes, and which ``start`` makes before it creates anything."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from owctl.doctor.data import check_data
from owctl.doctor.database import check_database
from owctl.doctor.engine import check_engine, check_images, check_project_owner
from owctl.doctor.environment import check_environment
from owctl.doctor.finding import CHECKS, CheckName, Finding, Report, Situation, in_order, look
from owctl.doctor.ports import check_exposure, check_ports
from owctl.doctor.resources import check_disk, check_memory, check_mounts
from owctl.errors import OwctlError, PortTaken
from owctl.health.parallel import at_once
from owctl.postgres.login import users_of
from owctl.postgres.place import database_of

if TYPE_CHECKING:
    from pathlib import Path

    from owctl.compose.model import Stack
    from owctl.engine.connection import Engine
    from owctl.settings import Settings


# -- Runs all checks at once, each as far as what it needs is there.


Check = Callable[[], Iterable[Finding]]
Checks = Mapping[tuple[CheckName, ...], Check]
# Checks of rooms that build upon this one: each is handed what was seen.
MoreChecks = Mapping[tuple[CheckName, ...], Callable[[Situation], Iterable[Finding]]]


def examine(
    settings: "Settings | None",
    stack: "Stack | None",
    engine: "Engine | None",
    *,
    known: Iterable[Finding] = (),
    ignore: Collection[str] = (),
    more: MoreChecks | None = None,
) -> Report:
    """Return what every check finds; never raises for what it finds.

    ``known`` are findings about what could not be had (settings, stack, engine: then None). Checks
    that need it are reported as skipped, as are those in ``ignore``.
    """
    findings = list(known)
    situation = None
    if engine is not None and stack is not None:
        try:
            situation = look(engine, stack)
        except OwctlError as error:
            findings.append(Finding("engine", "failed", error.message, error.hint))
            engine = None
    checks = _checks(settings, stack, engine, situation)
    found = run_checks(checks | _with(situation, more), ignore)
    findings = [*(f for f in findings if f.check not in ignore), *found]
    missing = " and ".join(
        name
        for name, value in (("the engine", engine), ("usable compose files", stack))
        if value is None
    )
    seen = {finding.check for finding in findings}
    for name in CHECKS:
        if name not in seen:
            why = "ignored" if name in ignore else f"needs {missing}"
            findings.append(Finding(name, "skipped", why))
    return Report(stack.project if stack else None, in_order(findings))


def _with(
    situation: Situation | None, more: MoreChecks | None
) -> dict[tuple[CheckName, ...], Check]:
    if situation is None or more is None:
        return {}
    return {names: partial(check, situation) for names, check in more.items()}


def run_checks(checks: Checks, ignore: Collection[str]) -> list[Finding]:
    """Run checks at the same time; one that cannot be made is reported, not raised."""
    chosen = [(names, check) for names, check in checks.items() if not set(names) <= set(ignore)]
    results = at_once([partial(_guarded, names, check) for names, check in chosen])
    return [finding for found in results for finding in found if finding.check not in ignore]


def _guarded(names: tuple[CheckName, ...], check: Check) -> list[Finding]:
    try:
        return list(check())
    except OwctlError as error:
        return [Finding(name, "skipped", error.message, error.hint) for name in names]


def _checks(
    settings: "Settings | None",
    stack: "Stack | None",
    engine: "Engine | None",
    situation: Situation | None,
) -> dict[tuple[CheckName, ...], Check]:
    project_dir = settings.project_dir if settings else None
    checks: dict[tuple[CheckName, ...], Check] = {
        ("disk",): partial(check_disk, engine, project_dir),
    }
    if settings is not None:
        checks[("env",)] = partial(check_environment, settings, stack)
    if stack is not None:
        files = ", ".join(path.name for path in stack.config_files)
        found = Finding("configuration", "ok", f"{files}: {len(stack.services)} services")
        checks[("exposure",)] = partial(
            check_exposure, stack, engine.endpoint.machine if engine is not None else None
        )
        checks[("configuration",)] = partial(tuple[Finding], (found,))
    if engine is not None:
        checks[("engine",)] = partial(check_engine, engine)
        checks[("memory",)] = partial(check_memory, engine)
    if situation is not None:
        checks |= {
            ("owner",): partial(check_project_owner, situation.engine, situation.stack),
            ("ports",): partial(check_ports, situation, situation.stack.services),
            ("mounts",): partial(check_mounts, situation, situation.stack.services),
            ("images",): partial(check_images, situation),
            ("password", "postgres-version"): partial(check_database, situation),
            ("data",): partial(check_data, situation),
        }
    return checks


# -- The checks that `start` makes before it creates anything: only of what it is about to start.


def preflight(
    situation: Situation,
    starting: Collection[str],
    project_dir: "Path",
    ignore: Collection[str] = (),
    more: MoreChecks | None = None,
) -> tuple[Finding, ...]:
    """Return the warnings about starting the named services; nothing is checked for none.

    Raises the hard findings as one OwctlError: PortTaken if a port is the first of them.
    """
    if not starting:
        return ()
    checks: dict[tuple[CheckName, ...], Check] = {
        ("ports",): partial(check_ports, situation, starting),
        ("mounts",): partial(check_mounts, situation, starting),
        ("disk",): partial(check_disk, situation.engine, project_dir),
        ("memory",): partial(check_memory, situation.engine),
    }
    if _concerns_database(situation, starting):
        checks[("password", "postgres-version")] = partial(check_database, situation, starting)
    findings = in_order(run_checks(checks | _with(situation, more), ignore))
    failures = [finding for finding in findings if finding.status == "failed"]
    if failures:
        raise _refusal(failures)
    return tuple(finding for finding in findings if finding.status == "warning")


def _concerns_database(situation: Situation, starting: Collection[str]) -> bool:
    place = database_of(situation.stack)
    if place is None:
        return False
    password = place.credentials.password
    users = users_of(situation.stack, password) if password else frozenset()
    return place.name in starting or bool(users & set(starting))


def _refusal(failures: list[Finding]) -> OwctlError:
    first, others = failures[0], failures[1:]
    kind = PortTaken if first.check == "ports" else OwctlError
    overrides = " ".join(f"--ignore {name}" for name in dict.fromkeys(f.check for f in failures))
    return kind(
        f"Nothing was started: {first.detail}.",
        hint=first.hint,
        details=[
            *(f"also: {f.detail}" + (f" (try: {f.hint})" if f.hint else "") for f in others),
            f"owctl start {overrides} starts all the same.",
        ],
    )
