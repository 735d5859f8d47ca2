"""Events of every kind of work, and what the one display makes of them."""

import re

import pytest

from owctl.backup.remote.parts import transfer
from owctl.commands.progress import Display
from owctl.lifecycle.execute import announce, execute
from owctl.lifecycle.plan import Plan, Step, keys
from owctl.progress import Event, warning
from owctl.ui.console import Console, unmasked
from owctl.ui.progress import Progress

MB = 1_000_000


class Rows(Progress):
    """A display that keeps what each row said, one after the other."""

    def __init__(self) -> None:
        super().__init__("Testing", unmasked)
        self.said: list[tuple[str, str, str]] = []

    def update(self, subject, state, text) -> None:
        # How fast this machine is must not matter.
        self.said.append((subject, state, re.sub(r", [\d.,]+ (MB|rows)/s", "", text)))


@pytest.fixture
def rows() -> Rows:
    return Rows()


def test_a_row_is_done_with_the_last_step_of_its_subject(rows):
    create = Step(kind="create", subject="db", service="db", name="demo-db-1")
    start = Step(kind="start", subject="db", service="db", requires=keys([create]))
    ready = Step(kind="ready", subject="db", service="db", requires=keys([start]))
    plan, display = Plan((create, start, ready)), Display(Console(), rows)

    def perform(step, cancel, report):
        if step.kind == "ready":
            report("connection refused")
        return f"{step.kind} is over"

    announce(plan, display)
    execute(plan, perform, display)
    assert rows.said == [
        ("db", "waiting", "waiting"),
        ("db", "working", "creating the container"),
        ("db", "waiting", "waiting for what it depends on"),
        ("db", "working", "starting"),
        ("db", "working", "waiting until it answers"),
        ("db", "working", "waiting: connection refused"),
        ("db", "done", "ready is over"),
    ]


def test_a_member_is_written_and_verified(rows):
    display = Display(Console(), rows)
    for event in (
        Event("dump", "working", "writing", "member"),
        Event("dump", "working", "writing", "member", done=5 * MB, moved=5 * MB),
        Event("dump", "working", "written", "member", moved=8 * MB),
        Event("dump", "working", "verifying", "member"),
        Event("dump", "done", "verified", "member", done=8 * MB),
        Event("files", "failed", "damaged", "member"),
    ):
        display(event)
    assert rows.said == [
        ("dump", "working", "writing"),
        ("dump", "working", "writing: 5.0 MB"),
        ("dump", "working", "written"),
        ("dump", "working", "verifying"),
        ("dump", "done", "verified, 8.0 MB"),
        ("files", "failed", "damaged"),
    ]


def test_a_member_goes_over_the_line(rows):
    display = Display(Console(), rows, prefix="backup-1/")
    display(transfer("dump", "sending", 0, 8 * MB))
    display(transfer("dump", "checking", 5 * MB, 8 * MB, 5 * MB))
    display(transfer("dump", "done", 8 * MB, 8 * MB, 8 * MB))
    assert rows.said == [
        ("backup-1/dump", "working", "sending: 0 B of 8.0 MB"),
        ("backup-1/dump", "working", "checking: 5.0 MB of 8.0 MB"),
        ("backup-1/dump", "done", "8.0 MB"),
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            None,
            [
                ("dump", "working", "verifying: 5.0 MB"),
                ("dump", "done", "verified, 8.0 MB"),
                ("dump (drill)", "working", "restoring: 5.0 MB"),
                ("dump (drill)", "done", "restored"),
            ],
        ),
        (
            "backup-1",
            [
                ("backup-1", "working", "verifying dump: 5.0 MB"),
                ("backup-1", "working", "dump: restoring: 5.0 MB"),
                ("backup-1", "working", "dump: restored"),
            ],
        ),
    ],
)
def test_a_backup_is_looked_at_in_rows_or_in_one(rows, row, said):
    display = Display(Console(), rows, row=row)
    display(Event("dump", "working", "verifying", "member", done=5 * MB))
    display(Event("dump", "done", "verified", "member", done=8 * MB))
    display(Event("dump", "working", "restoring", "drill", done=5 * MB))
    display(Event("dump", "done", "restored", "drill"))
    assert rows.said == said


def test_a_migration_names_its_steps_and_counts_its_rows(rows):
    display = Display(Console(), rows, names={"start-new": "new stack"})
    display(Event("start-new", "working", "begun"))
    display(Event("start-new", "done", "done before"))
    display(Event("load", "working", "loading", "rows", "user", 500, 1000, MB))
    display(Event("load", "working", "verifying", "rows", "user", 1000, 1000))
    display(Event("load", "working", "verified", "rows", "user", 1000, 1000))
    assert rows.said == [
        ("new stack", "working", "begun"),
        ("new stack", "done", "done before"),
        ("load", "working", "user: 500 of 1,000 rows (50 %), 1.0 MB"),
        ("load", "working", "user: verifying 1,000 rows"),
        ("load", "working", "user: 1,000 rows verified"),
    ]
    assert display.rows_done == 1000


def test_a_warning_is_said_beside_the_rows(rows, capsys):
    Display(Console(), rows)(warning("Going back to what was there before."))
    assert capsys.readouterr().err == "Warning: Going back to what was there before.\n"
    assert rows.said == []
