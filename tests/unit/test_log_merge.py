"""Several logs as one in the order of time, read at once or as they come."""

import random
from collections.abc import Iterator

import pytest

from owctl.observe.log_feed import Position, skip_seen
from owctl.observe.log_window import ReorderingWindow
from owctl.observe.logs import Line, Source, merge_by_time


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


@pytest.mark.parametrize("seed", range(20))
def test_merging_equals_sorting(seed: int):
    random_ = random.Random(seed)
    logs = [
        sorted(
            (line(origin, random_.randrange(60), str(n)) for n in range(random_.randrange(50))),
            key=lambda entry: entry[0],
        )
        for origin in (A, B, C)
    ]
    merged = [
        entry for batch in merge_by_time([cut(log, random_) for log in logs]) for entry in batch
    ]
    assert [entry[0] for entry in merged] == sorted(entry[0] for log in logs for entry in log)
    for origin, log in zip((A, B, C), logs, strict=True):
        assert [entry for entry in merged if entry[1] is origin] == log


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

    merged = merge_by_time([iter([[line(A, 1)], [line(A, 3)]]), endless()])
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


def test_what_was_seen_is_left_out_once():
    def entry(second: int, text: bytes) -> tuple[bytes, str, bytes]:
        return (line(A, second)[0], "stdout", text)

    batch = [entry(1, b"a"), entry(2, b"b"), entry(2, b"c"), entry(2, b"d"), entry(3, b"e")]
    seen = Position(line(A, 2)[0], count=2)
    assert list(skip_seen(seen, batch)) == [[entry(2, b"d"), entry(3, b"e")]]
    assert list(skip_seen(seen, batch[:3])) == []
