"""Running a plan: order, parallelism, the first failure, cancelling."""

import threading

import pytest

from owctl.errors import OwctlError
from owctl.lifecycle.execute import Cancelled, execute
from owctl.lifecycle.plan import Plan, Step


def step(name: str, *requires: Step) -> Step:
    return Step(kind="start", subject=name, requires=frozenset(s.key for s in requires))


def ignore(_: object) -> None:
    pass


def test_steps_run_after_what_they_require():
    first = step("first")
    second = step("second", first)
    third = step("third", second)
    seen: list[str] = []

    def perform(item, cancel, report):
        seen.append(item.subject)
        return ""

    execute(Plan((third, second, first)), perform, ignore)
    assert seen == ["first", "second", "third"]


def test_independent_steps_run_at_the_same_time():
    meeting = threading.Barrier(2, timeout=10)

    def perform(item, cancel, report):
        meeting.wait()
        return ""

    execute(Plan((step("a"), step("b"))), perform, ignore)
    assert meeting.broken is False


def test_the_first_failure_cancels_waits_and_starts_nothing_more():
    waiting = threading.Event()
    bad, patient = step("bad"), step("patient")
    after = step("after", patient)
    performed: list[str] = []

    def perform(item, cancel, report):
        performed.append(item.subject)
        if item.subject == "bad":
            assert waiting.wait(10)
            raise OwctlError("bad failed")
        waiting.set()
        assert cancel.wait(10)
        raise Cancelled

    events = []
    with pytest.raises(OwctlError, match="bad failed"):
        execute(Plan((bad, patient, after)), perform, events.append)
    assert "after" not in performed
    assert [e.subject for e in events if e.state == "failed"] == ["bad"]


def test_an_interrupt_reaches_the_steps_under_way():
    gave_up = threading.Event()

    def perform(item, cancel, report):
        if item.subject == "interrupting":
            raise KeyboardInterrupt
        assert cancel.wait(10)
        gave_up.set()
        raise Cancelled

    with pytest.raises(KeyboardInterrupt):
        execute(Plan((step("waiting"), step("interrupting"))), perform, ignore)
    assert gave_up.is_set()


def test_a_plan_with_an_unknown_requirement_is_a_bug_that_shows():
    lost = Step(kind="start", subject="a", requires=frozenset({"nowhere"}))
    with pytest.raises(AssertionError, match="nowhere"):
        execute(Plan((lost,)), lambda *_: "", ignore)


def test_events_tell_each_phase_once():
    events = []

    def perform(item, cancel, report):
        report("half way")
        return "all the way"

    execute(Plan((step("a"),)), perform, events.append)
    assert [(e.state, e.text) for e in events] == [
        ("started", ""),
        ("working", "half way"),
        ("done", "all the way"),
    ]
