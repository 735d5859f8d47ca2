"""The checks that `start` makes before it creates anything: only of what it is about to start."""

from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING

from owctl.doctor.database import check_database, database_service
from owctl.doctor.examine import Check, run_checks
from owctl.doctor.finding import CheckName, Finding, in_order
from owctl.doctor.mounts import check_mounts
from owctl.doctor.ports import check_ports
from owctl.doctor.resources import check_disk, check_memory
from owctl.doctor.situation import Situation
from owctl.errors import OwctlError, PortTaken
from owctl.project.database_login import users_of

if TYPE_CHECKING:
    from pathlib import Path


def preflight(
    situation: Situation,
    starting: Collection[str],
    project_dir: "Path",
    ignore: Collection[str] = (),
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
    findings = in_order(run_checks(checks, ignore))
    failures = [finding for finding in findings if finding.status == "failed"]
    if failures:
        raise _refusal(failures)
    return tuple(finding for finding in findings if finding.status == "warning")


def _concerns_database(situation: Situation, starting: Collection[str]) -> bool:
    service = database_service(situation)
    if service is None:
        return False
    password = service.environment.get("POSTGRES_PASSWORD")
    users = users_of(situation.stack, password) if password else frozenset()
    return service.name in starting or bool(users & set(starting))


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
