"""Every row of the source is in the target or among the rejects: counted, not believed."""

from collections.abc import Mapping
from dataclasses import dataclass

from owctl.migrate.source import Source


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the rows of one source table."""

    source_rows: int
    converted: int = 0
    rejected: int = 0
    merged: int = 0

    @property
    def unaccounted(self) -> int:
        """Rows that are neither here nor there; anything but 0 is a fault."""
        return self.source_rows - self.converted - self.rejected - self.merged


def unaccounted(source: Source, accounts: Mapping[str, Account]) -> dict[str, int]:
    """Return, by source table, how many rows nobody accounts for; empty if all is well.

    Compares with the source as it is, so that a table that was forgotten is found too.
    """
    faults = {}
    for table in source.tables:
        account = accounts.get(table, Account(0))
        missing = source.rows_in(table) - account.converted - account.rejected - account.merged
        if missing:
            faults[table] = missing
    return faults
