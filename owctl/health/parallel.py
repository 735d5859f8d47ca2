"""Runs functions at the same time, each in a thread that never keeps owctl from ending."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


def at_once(functions: Sequence[Callable[[], Result]]) -> list[Result]:
    """Return what the functions return, in their order; the first error is raised.

    A thread for each, so that one that hangs delays no other. They are daemon threads, unlike a
    pool's: Ctrl-C ends owctl at once, not when the last probe has timed out.
    """
    futures = [_begin(function) for function in functions]
    return [future.result() for future in futures]


def within(seconds: float, function: Callable[[], Result]) -> Result:
    """Return what the function returns; raise TimeoutError if it takes longer.

    Its thread is left alone then: this is for code that cannot be told to stop.
    """
    return _begin(function).result(seconds)


def _begin(function: Callable[[], Result]) -> Future[Result]:
    future: Future[Result] = Future()

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001  # not swallowed: result() raises it
            future.set_exception(error)

    threading.Thread(target=work, name="owctl-health", daemon=True).start()
    return future
