"""The newest lines of a project, across breaks of what they are read from."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from owctl.observe import newest_lines
from owctl.observe.log_filter import Line, Source, Window
from owctl.observe.newest_lines import NewestLines

ONE, OTHER = (Source(name, name, name, name, False, None) for name in ("one", "other"))


def line(second: int, source: Source, text: str) -> Line:
    stamp = datetime(2026, 1, 2, 3, 4, second, tzinfo=UTC).isoformat().encode()
    return stamp, source, "stdout", text.encode() + b"\n"


def test_a_break_costs_no_line_and_shows_none_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [
        [line(1, ONE, "first"), line(5, ONE, "newest")],
        # After the break: the same again, and what the other container said in between.
        [line(3, OTHER, "earlier, and not seen yet"), line(5, ONE, "newest"), line(6, ONE, "next")],
    ]
    windows: list[Window] = []

    class Follower:
        def __init__(self, *arguments: object, **_: object) -> None:
            windows.append(arguments[3])  # type: ignore[arg-type]

        def lines(self) -> Iterator[list[Line]]:
            yield batches[len(windows) - 1]
            if len(windows) == len(batches):
                lines.stop()

    monkeypatch.setattr(newest_lines, "LogFollower", Follower)
    monkeypatch.setattr(newest_lines, "PAUSE_SECONDS", 0)
    lines = NewestLines(None, "project", None, on_change=lambda: None)  # type: ignore[arg-type]
    lines.follow()

    texts = [entry.line[3] for entry in lines.entries() if entry.line is not None]
    assert texts == [b"first\n", b"newest\n", b"earlier, and not seen yet\n", b"next\n"]
    assert windows[0].since is None
    assert windows[1].since is not None
    assert windows[1].since <= datetime(2026, 1, 2, 3, 4, 3, tzinfo=UTC).timestamp()
