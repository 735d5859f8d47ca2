"""What work tells while it goes on: one kind of event, to a receiver that it is handed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["waiting", "started", "working", "passed", "done", "failed", "warning"]


@dataclass(frozen=True, slots=True)
class Event:
    """What happens to a subject: a service, a member of a backup, a step of a migration.

    ``passed`` ends a part of what is done with it, ``done`` and ``failed`` all of it; a ``warning``
    is a sentence that the user must read, about no subject. ``kind`` says what is done (a step's
    kind, "member", "transfer", "drill", "rows"), ``item`` to what of the subject (a container, a
    table). Bytes, or rows, are ``done`` of a ``total``; ``moved`` in this run, which gives a rate.
    """

    subject: str
    state: State
    text: str = ""
    kind: str = ""
    item: str = ""
    done: int = 0
    total: int = 0
    moved: int = 0


Receiver = Callable[[Event], None]


def ignore(_: Event) -> None:
    """Receive and drop: for callers that show nothing."""


def warning(text: str) -> Event:
    """Return the event of a warning."""
    return Event("", "warning", text)
