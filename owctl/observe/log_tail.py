"""Where the last N lines of a log begin: whole lines, and only those that are chosen."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from owctl.observe.log_filter import LineFilter
from owctl.observe.logs import Line, Window

GROWTH = 8
FIRST_LOOK_ENTRIES = 1000


@dataclass(frozen=True, slots=True)
class TailStart:
    """Read the last ``entries`` of the engine (None: all), and skip so many chosen lines."""

    entries: int | None
    skip: int = 0


def find_tail(
    read: Callable[[int | None], Iterator[tuple[list[Line], int]]],
    window: Window,
    chooser: LineFilter,
) -> TailStart:
    """Return where the last ``window.tail`` lines that ``chooser`` chooses begin.

    ``read`` yields the lines of the last so many entries, each time with the number of entries so far. The
    engine finds its last entries fast, so the look back grows until enough is found. Nothing is
    kept but numbers.
    """
    wanted = window.tail or 0
    entries: int | None = wanted + 1
    if chooser.leaves_out:
        entries = max(wanted * GROWTH, FIRST_LOOK_ENTRIES)
    if window.until is not None:
        entries = None  # the engine counts its last entries from the end of the log, not from there
    while True:
        counting = chooser.fresh()
        found = read_entries = 0
        for lines, read_entries in read(entries):  # noqa: B007  # the last one counts
            found += len(counting.choose(lines)[0])
        if entries is None or read_entries < entries:
            # That was all there is.
            return TailStart(None, max(found - wanted, 0))
        # The first line may lack its beginning, so it takes one more than are wanted.
        if found > wanted:
            return TailStart(entries, found - wanted)
        entries *= GROWTH
