"""Several logs as one in the order of time, read at once or as they come."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from owctl.observe.log_filter import Line, Source
from owctl.observe.log_follow import ReorderingWindow
from owctl.observe.log_read import merge_by_time


def source(name: str) -> Source:
    return Source(name, f"p-{name}-1", name, name, tty=False, started_at=None)


A, B, C = source("a"), source("b"), source("c")


def line(origin: Source, second: int, text: str = "x") -> Line:
    return (f"2026-01-01T00:00:00.{second:09d}Z".encode(), origin, "stdout", text.encode() + b"\n")


def cut(lines: list[Line], sizes: random.Random) -> Iterator[list[Line]]:
    while lines:
        size = sizes.randint(1, 5)
        yield lines[:size]
        lines = lines[size:]


# (moment, how late it stands in the log, how late it arrives), all in steps of the clock.
WRITTEN = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3), st.integers(0, 9)), max_size=40)


def logs_of(written: list[list[tuple[int, int, int]]]) -> list[list[Line]]:
    """Three logs, each in the order of time but for the delays."""
    return [
        [
            line(origin, moment, str(number))
            for number, (moment, delay, _) in sorted(
                enumerate(entries), key=lambda entry: entry[1][0] + entry[1][1]
            )
        ]
        for origin, entries in zip((A, B, C), written, strict=True)
    ]


@given(st.tuples(WRITTEN, WRITTEN, WRITTEN), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_merging_equals_sorting(written: tuple[list, list, list], random_: random.Random):
    logs = logs_of(list(written))
    merged = [
        entry
        for batch in merge_by_time([cut(log, random_) for log in logs], disorder_ns=3)
        for entry in batch
    ]
    everything = [entry for log in logs for entry in log]
    assert [entry[0] for entry in merged] == sorted(entry[0] for entry in everything)
    for origin, log in zip((A, B, C), logs, strict=True):
        # Every line once, those of one moment in the order of the log.
        in_order = sorted(log, key=lambda entry: entry[0])
        assert [entry for entry in merged if entry[1] is origin] == in_order


@given(st.tuples(WRITTEN, WRITTEN, WRITTEN))
@settings(max_examples=100, deadline=None)
def test_what_arrives_within_the_window_is_in_order(written: tuple[list, list, list]):
    window = ReorderingWindow(hold_seconds=12)
    arrivals = [
        (moment + late + later, line(origin, moment, str(number)))
        for origin, entries in zip((A, B, C), written, strict=True)
        for number, (moment, late, later) in enumerate(entries)
    ]
    arrivals.sort(key=lambda arrival: arrival[0])
    shown: list[Line] = []
    for arrived, entry in arrivals:
        shown += window.release(arrived)
        window.add([entry], arrived)
        assert window.due_in(arrived) <= 12
    shown += window.release(1000)
    assert not window.holds
    assert Counter(shown) == Counter(entry for _, entry in arrivals)
    assert [entry[0] for entry in shown] == sorted(entry[0] for entry in shown)


def test_a_single_log_is_passed_on_as_it_is():
    batches = [[line(A, 2), line(A, 1)], [line(A, 3)]]
    assert list(merge_by_time([iter(batches)])) == batches


def test_lines_of_one_container_keep_their_order():
    log = [line(A, 5, str(number)) for number in range(10)]
    other = [line(B, 5)]
    merged = [entry for batch in merge_by_time([iter([log]), iter([other])]) for entry in batch]
    assert [entry[3] for entry in merged if entry[1] is A] == [entry[3] for entry in log]


def test_nothing_is_read_ahead_without_need():
    def endless() -> Iterator[list[Line]]:
        second = 0
        while True:
            yield [line(B, second := second + 1)]

    merged = merge_by_time([iter([[line(A, 1)], [line(A, 3)]]), endless()], disorder_ns=0)
    assert next(merged) == [line(A, 1), line(B, 1)]
    assert next(merged) == [line(B, 2)]


def test_no_logs_at_all():
    assert list(merge_by_time([])) == []
    assert list(merge_by_time([iter([]), iter([])])) == []


def test_the_window_orders_what_comes_within_it():
    window = ReorderingWindow(hold_seconds=0.1)
    window.add([line(A, 5)], 10.0)
    window.add([line(B, 3)], 10.05)
    assert window.release(10.05) == []
    assert window.due_in(10.05) == pytest.approx(0.05)
    # What is due takes along what is earlier, however late that came.
    assert window.release(10.1) == [line(B, 3), line(A, 5)]
    assert not window.holds


def test_the_window_keeps_what_is_not_due():
    window = ReorderingWindow(hold_seconds=0.1)
    window.add([line(A, 5)], 10.0)
    window.add([line(B, 7)], 10.08)
    assert window.release(10.11) == [line(A, 5)]
    assert window.holds
    assert window.release(10.19) == [line(B, 7)]
    assert window.due_in(10.2) == float("inf")


def test_a_line_that_comes_after_its_time_is_not_kept_back():
    window = ReorderingWindow(hold_seconds=0.1)
    window.add([line(A, 5)], 10.0)
    assert window.release(10.2) == [line(A, 5)]
    window.add([line(B, 1)], 10.3)
    assert window.release(10.4) == [line(B, 1)]


def test_a_single_container_does_not_wait():
    window = ReorderingWindow(hold_seconds=0.1)
    window.add([line(A, 5), line(A, 6)], 10.0)
    assert window.release(10.0, alone=True) == [line(A, 5), line(A, 6)]
