"""Asks again and again, at a steady pace."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from owctl.errors import Interrupted, OwctlError

Answer = TypeVar("Answer")


def rounds(
    ask: Callable[[], Answer], interval_seconds: float, *, first_seconds: float | None = None
) -> Iterator[Answer | OwctlError]:
    """Yield an answer every ``interval_seconds``, for ever; an engine's failure is yielded, too.

    The interval is from start to start, ``first_seconds`` the one after the first answer; a round
    that takes longer delays the next. Raises Interrupted.
    """
    pause_seconds = interval_seconds if first_seconds is None else first_seconds
    while True:
        started = time.monotonic()
        try:
            yield ask()
        except Interrupted:
            raise
        except OwctlError as error:
            yield error
        time.sleep(max(0.0, started + pause_seconds - time.monotonic()))
        pause_seconds = interval_seconds
