"""Trying again where a connection broke: a few times, from the beginning of a part."""

import threading
from collections.abc import Callable
from typing import TypeVar

from owctl.backup.remote.store import ConnectionLost, Store

PAUSES_SECONDS = (0.5, 2.0, 5.0)
Result = TypeVar("Result")


def persistently(
    store: Store, action: Callable[[], Result], on_retry: Callable[[], None] = lambda: None
) -> Result:
    """Return what ``action`` returns, tried anew after ConnectionLost; raises the last one."""
    for seconds in PAUSES_SECONDS:
        try:
            return action()
        except ConnectionLost:
            on_retry()
            threading.Event().wait(seconds)
            try:
                store.reconnect()
            except ConnectionLost:
                continue
    return action()
