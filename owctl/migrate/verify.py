"""Does the target hold what was sent? Counts and hashes of whole rows, in the loading transaction."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from owctl.errors import OwctlError
from owctl.migrate.canonical import RowHasher, TooDeep, digest_query
from owctl.migrate.json_tree import TreeReader
from owctl.migrate.model import ColumnInfo, TableMap, Value
from owctl.migrate.set_aside import SetAside, differing

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]


# The planner sees the small table and not the megabytes behind it, which are what takes the time.
SEVERAL_PROCESSES = (
    "SET LOCAL max_parallel_workers_per_gather TO DEFAULT",
    "SET LOCAL min_parallel_table_scan_size = '64kB'",
    "SET LOCAL parallel_setup_cost = 0",
    "SET LOCAL parallel_tuple_cost = 0",
)


class VerificationFailed(OwctlError):
    """The target does not hold what was sent, or a row of the source is unaccounted for."""


class SentRows:
    """What is to be told each row that is sent; what cannot be hashed here is set aside."""

    def __init__(
        self,
        table_map: TableMap,
        columns: Mapping[str, ColumnInfo],
        aside: SetAside,
        reader: TreeReader | None = None,
    ) -> None:
        self.hasher = RowHasher([columns[name].data_type for name in table_map.columns], reader)
        self.aside = aside

    @property
    def rows(self) -> int:
        """How many there were."""
        return self.hasher.rows + len(self.aside.keys)

    def add(self, values: tuple[Value, ...]) -> None:
        """Take one row's values."""
        if self.aside.takes(values):
            self.aside.add(values)
            return
        try:
            self.hasher.add(values)
        except TooDeep:
            self.aside.add(values)


def verify_table(
    connection: "Connection",
    table_map: TableMap,
    columns: Mapping[str, ColumnInfo],
    sent: "SentRows",
) -> None:
    """Compare a table, all of it, with what was sent; raises VerificationFailed."""
    from psycopg import sql

    names = [
        (sql.Identifier(name).as_string(connection), columns[name].data_type)
        for name in table_map.columns
    ]
    table = sql.Identifier("public", table_map.target).as_string(connection)
    aside = sent.aside
    but = sql.Identifier(aside.key_column).as_string(connection) if aside.keys else ""
    keys = [key.decode() if isinstance(key, bytes) else key for key in aside.keys]
    rows, first, second = ask(connection, digest_query(names, table, but), [keys] if keys else None)
    if rows != sent.hasher.rows:
        raise VerificationFailed(
            f"{table_map.target}: {sent.hasher.rows} rows were sent, and {rows} are there. "
            "Nothing was changed.",
            hint="the same command again; if it fails again, report it",
        )
    if (first, second) != sent.hasher.total or any(differing(connection, aside, columns)):
        raise VerificationFailed(
            f"{table_map.target}: what is stored differs from what was sent. Nothing was changed.",
            hint="the same command with --debug, and report what it prints",
        )


def ask(connection: "Connection", query: str, parameters: list[Any] | None) -> tuple[int, ...]:
    """Return the numbers of a digest query, made by as many of the server's processes as it allows.

    Where it cannot have more than one (a container with little shared memory), by one.
    """
    import psycopg

    try:
        with connection.transaction(force_rollback=True):  # of the settings
            for setting in SEVERAL_PROCESSES:
                connection.execute(setting)
            found = connection.execute(query.encode(), parameters).fetchone()
    except psycopg.errors.OperationalError:
        if connection.broken:
            raise
        found = connection.execute(query.encode(), parameters).fetchone()
    assert found is not None
    return tuple(int(value) for value in found)


def account(source_table: str, source_rows: int, inserted: int, rejected: int) -> None:
    """Raise VerificationFailed unless every row of the source is inserted or rejected."""
    if source_rows != inserted + rejected:
        raise VerificationFailed(
            f"{source_table}: {source_rows} rows in the source, but {inserted} inserted and "
            f"{rejected} rejected. Nothing was changed.",
            hint="the same command with --debug, and report what it prints",
        )
