"""The database's tables and columns: noted before an upgrade, compared before going back."""

from collections.abc import Sequence
from dataclasses import dataclass

from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.errors import OwctlError

_COLUMNS = """
SELECT table_schema || '.' || table_name || '.' || column_name || ' ' || data_type
FROM information_schema.columns
WHERE table_schema NOT IN ('information_schema', 'pg_catalog') AND table_schema NOT LIKE 'pg_toast%'
ORDER BY 1;
"""
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Moved:
    """How the columns changed: those that came and those that went, by name and type."""

    added: tuple[str, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)

    def in_words(self) -> str:
        """Return a clause, such as ``2 columns came (public.chat.meta json, …)``."""
        parts = [
            f"{len(found)} {'column' if len(found) == 1 else 'columns'} {verb} ({_some(found)})"
            for found, verb in ((self.added, "came"), (self.removed, "went"))
            if found
        ]
        return " and ".join(parts)


def read_columns(engine: Engine, stack: Stack) -> tuple[str, ...] | None:
    """Return all columns of the stack's database, none if it has no PostgreSQL.

    None where it cannot be asked.
    """
    from owctl.postgres.database import connection_environment, find_database
    from owctl.postgres.psql import Server
    from owctl.volumes.inventory import take_inventory

    if not has_database(stack):
        return ()
    try:
        container = find_database(take_inventory(engine, stack))
        server = Server(engine, container, connection_environment(engine, container))
        return tuple(row[0] for row in server.ask(_COLUMNS))
    except OwctlError:
        return None


def has_database(stack: Stack) -> bool:
    """Return whether one of the services is a PostgreSQL."""
    from owctl.compose.services import choose_probe

    return any(choose_probe(service).type == "postgres" for service in stack.services.values())


def compare(before: Sequence[str], now: Sequence[str]) -> Moved:
    """Return what came and what went between two looks at the columns."""
    return Moved(
        added=tuple(sorted(set(now) - set(before))), removed=tuple(sorted(set(before) - set(now)))
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown}, …" if len(names) > _SHOWN else shown
