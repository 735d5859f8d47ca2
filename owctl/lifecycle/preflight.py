"""Looks at a plan of `start` with the doctor's eyes before it is carried out."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from owctl.compose.model import Stack

if TYPE_CHECKING:
    from owctl.doctor.finding import Finding
    from owctl.engine.connection import Engine
    from owctl.lifecycle.run import Prepared


def check_before_start(
    engine: "Engine",
    stack: Stack,
    prepared: "Prepared",
    project_dir: Path,
    ignore: Collection[str] = (),
) -> "tuple[Finding, ...]":
    """Return warnings about what the plan starts; raises OwctlError for what must not be started.

    A plan that starts nothing is not looked at. ``ignore`` names checks to leave out.
    """
    starting = {step.service for step in prepared.plan.steps if step.kind == "start"} - {None}
    if not starting:
        return ()
    from owctl.doctor.preflight import preflight
    from owctl.doctor.situation import Situation

    observed = prepared.observed
    containers = (*observed.containers, *observed.successors)
    situation = Situation(engine, stack, containers, observed.volumes, observed.images)
    return preflight(situation, [str(name) for name in starting], project_dir, ignore)
