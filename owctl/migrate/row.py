"""One row on its way: what was read, what it becomes, what is noted about it."""

from collections.abc import Callable
from dataclasses import dataclass

from owctl.migrate.model import Notes, Options, Value
from owctl.migrate.references import References
from owctl.migrate.source import Source
from owctl.migrate.values import Raw


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
    """What the rules of a table may ask; ``seen`` remembers unique values for one pass."""

    source: Source
    options: Options
    references: References
    notes: Notes
    seen: dict[str, set[bytes]]

    def first(self, name: str, value: bytes) -> bool:
        """Tell whether the value comes for the first time, and remember it."""
        seen = self.seen.setdefault(name, set())
        if value in seen:
            return False
        seen.add(value)
        return True
