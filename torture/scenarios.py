"""The scenarios, each on a stack of its own, by name."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from torture.backup_kills import backup_kills
from torture.damage import damaged_backups
from torture.engine_kills import engine_kills_in_backup, engine_kills_in_restore
from torture.full_disks import RestoreOnSmallDisks, full_disk_in_backup
from torture.own_engine import OwnEngine
from torture.report import Tally
from torture.restore_kills import restore_kills
from torture.rivals import several_at_once
from torture.subject import IMAGES, Subject

Scenario = Callable[[int, Random], Tally]


@contextmanager
def running(rows: int = 2000) -> Iterator[Subject]:
    """Yield a running stack of its own; it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="owctl-torture-") as folder:
        subject = Subject(Path(folder) / "project", rows=rows)
        try:
            subject.succeed("start")
            subject.change("first")
            yield subject
        finally:
            subject.remove()


def _on_a_stack(scenario: Callable[[Subject, int, Random], Tally], rows: int = 2000) -> Scenario:
    def run(count: int, random: Random) -> Tally:
        with running(rows) as subject:
            return scenario(subject, count, random)

    return run


def _on_an_engine(scenario: Callable[[OwnEngine, Subject, int, Random], Tally]) -> Scenario:
    def run(count: int, random: Random) -> Tally:
        with (
            tempfile.TemporaryDirectory(prefix="owctl-torture-") as folder,
            OwnEngine(IMAGES) as engine,
        ):
            subject = Subject(
                Path(folder) / "project", environment=engine.environment, prefix=engine.prefix
            )
            subject.succeed("start")
            subject.change("first")
            return scenario(engine, subject, count, random)

    return run


def _small_disks(count: int, random: Random) -> Tally:
    with tempfile.TemporaryDirectory(prefix="owctl-torture-") as folder:
        subject = Subject(Path(folder) / "project", rows=20000)
        with RestoreOnSmallDisks(subject) as disks:
            subject.succeed("start")
            return disks.run(count, random)


# name → (scenario, how often in a long run)
SCENARIOS: dict[str, tuple[Scenario, int]] = {
    "backup-kills": (_on_a_stack(backup_kills), 105),
    "restore-kills": (_on_a_stack(restore_kills), 100),
    "backup-disks": (_on_a_stack(full_disk_in_backup, rows=20000), 12),
    "restore-disks": (_small_disks, 8),
    "backup-engine": (_on_an_engine(engine_kills_in_backup), 6),
    "restore-engine": (_on_an_engine(engine_kills_in_restore), 6),
    "damage": (_on_a_stack(damaged_backups), 27),
    "rivals": (_on_a_stack(several_at_once), 4),
}
