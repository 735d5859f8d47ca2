"""One row on its way: what was read, what it becomes, what is noted about it, what its rules may ask."""

from collections.abc import Callable
from dataclasses import dataclass, field

from owctl.migrate.convert.column_map import Notes, Options, Value
from owctl.migrate.convert.references import References
from owctl.migrate.convert.values import Raw
from owctl.migrate.source.database import Source


@dataclass(slots=True)
class Row:
    """``raw`` by source column, ``values`` by target column; rules change ``values`` in place."""

    rowid: int
    raw: dict[str, Raw]
    values: dict[str, Value]
    note: Callable[[str, str], None]

    def text(self, column: str) -> bytes | None:
        """Return a text value."""
        value = self.values.get(column)
        return value if isinstance(value, bytes) else None


@dataclass(slots=True)
class Context:
    """What the rules of a table may ask.

    ``seen`` remembers the unique values of the rows that the target gets, ``claimed`` those of the
    row at hand, which may still be rejected.
    """

    source: Source
    options: Options
    references: References
    notes: Notes
    seen: dict[str, set[bytes]] = field(default_factory=dict)
    claimed: list[tuple[str, bytes]] = field(default_factory=list)

    def first(self, name: str, value: bytes) -> bool:
        """Tell whether no row before has the value, and claim it for the row at hand."""
        if value in self.seen.setdefault(name, set()):
            return False
        self.claimed.append((name, value))
        return True

    def settle(self, *, accepted: bool) -> None:
        """Take note that the row at hand is accepted, with what it claims, or rejected."""
        if accepted:
            for name, value in self.claimed:
                self.seen[name].add(value)
        self.claimed.clear()
