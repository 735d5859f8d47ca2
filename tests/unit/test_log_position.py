"""Reading a log again from where it was left: no gap, no line twice."""

from hypothesis import given, settings
from hypothesis import strategies as st

from owctl.engine.logs import LogEntry
from owctl.observe.log_feed import REMEMBERED_LINES, Position


def entry(moment: int, number: int = 0, stream: str = "stdout") -> LogEntry:
    return (f"2026-01-01T00:00:00.{moment:09d}Z".encode(), stream, b"%d\n" % number)


def from_(log: list[LogEntry], since: bytes) -> list[LogEntry]:
    """What the engine gives of a log for a time."""
    return [each for each in log if each[0] >= since]


LOGS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["stdout", "stderr"]), st.booleans()),
    min_size=1,
    max_size=REMEMBERED_LINES + 40,
)


@given(LOGS, st.data())
@settings(max_examples=50, deadline=None)
def test_reading_goes_on_where_it_was_left(steps: list[tuple[int, str, bool]], data: st.DataObject):
    log, now = [], 10
    steps[0] = 0, steps[0][1], False
    for number, (step, stream, is_late) in enumerate(steps):
        now += step
        # A line may stand behind one that is a little later, but for the very first.
        log.append(entry(max(now - 2 * is_late, 10), number, stream))
    left_at = data.draw(st.integers(1, len(log)))
    position = Position()
    for stamp, stream, _ in log[:left_at]:
        position.add(stamp, stream)
    again = from_(log, position.since)
    cut_at = data.draw(st.integers(0, len(again)))
    batches = [again[:cut_at], again[cut_at:]]
    unseen = [each for batch in position.unseen(batches) for each in batch]
    assert unseen == log[left_at:]


def test_lines_of_one_moment_are_told_apart_by_their_number():
    log = [entry(1), entry(2, 1), entry(2, 2), entry(2, 3), entry(3)]
    position = Position()
    for stamp, stream, _ in log[:3]:
        position.add(stamp, stream)
    assert list(position.unseen([log])) == [log[3:]]
    assert list(position.unseen([log[:3]])) == []
    assert not Position()
