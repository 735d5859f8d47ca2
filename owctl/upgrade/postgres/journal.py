"""What the journal of an upgrade to another PostgreSQL holds."""

from dataclasses import dataclass
from typing import ClassVar

from owctl.changeover.journal import POSTGRES, Kind
from owctl.changeover.journal import Journal as AnyJournal


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal(AnyJournal):
    """One upgrade. ``folder`` is where in ``volume`` the data is ("" for its root).

    ``new_volume`` holds the new database until it is in place.
    """

    kind: ClassVar[Kind] = POSTGRES

    service: str
    volume: str
    folder: str
    new_volume: str
    old_major: str
    new_major: str
    old_image: str
    new_image: str
    backup: str | None = None
