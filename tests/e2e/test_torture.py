"""A short run of each scenario of `make torture`: what must hold, holds after every one."""

import os
from random import Random

import pytest

from tests.e2e.conftest import Project
from torture.scenarios import SCENARIOS

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

FEW = {
    "backup-kills": 3,
    "restore-kills": 3,
    "backup-disks": 2,
    "restore-disks": 2,
    "backup-engine": 2,
    "restore-engine": 2,
    "damage": 6,
    "rivals": 1,
}
NEEDS_ROOT = {"backup-disks", "restore-disks", "backup-engine", "restore-engine"}


def test_every_scenario_is_run():
    assert FEW.keys() == SCENARIOS.keys()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                name in NEEDS_ROOT and os.geteuid() != 0,
                reason="mounts small disks or starts an engine: root only",
            ),
        )
        for name in FEW
    ],
)
def test_what_must_hold_holds(name: str, demo_stack: Project):
    assert demo_stack.status(), "its images are those of the tortured stacks"
    scenario, _ = SCENARIOS[name]
    seed = int.from_bytes(os.urandom(2))
    try:
        tally = scenario(FEW[name], Random(seed))
    except AssertionError as error:
        error.add_note(f"again: scripts/torture {name} --seed {seed} --count {FEW[name]}")
        raise
    assert tally.runs >= FEW[name]
