"""Does the target hold what was sent? Counts and hashes of whole rows, in the loading transaction."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from owctl.errors import OwctlError
from owctl.migrate.canonical import RowHasher, digest_query
from owctl.migrate.model import ColumnInfo, TableMap

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]


class VerificationFailed(OwctlError):
    """The target does not hold what was sent, or a row of the source is unaccounted for."""


def hasher_for(table_map: TableMap, columns: Mapping[str, ColumnInfo]) -> RowHasher:
    """Return what is to be told each row that is sent."""
    return RowHasher([columns[name].data_type for name in table_map.columns])


def verify_table(
    connection: "Connection",
    table_map: TableMap,
    columns: Mapping[str, ColumnInfo],
    sent: RowHasher,
) -> None:
    """Compare a table, all of it, with what was sent; raises VerificationFailed."""
    from psycopg import sql

    names = [
        (sql.Identifier(name).as_string(connection), columns[name].data_type)
        for name in table_map.columns
    ]
    table = sql.Identifier("public", table_map.target).as_string(connection)
    found = connection.execute(digest_query(names, table).encode()).fetchone()
    assert found is not None
    rows, first, second = (int(value) for value in found)
    if rows != sent.rows:
        raise VerificationFailed(
            f"{table_map.target}: {sent.rows} rows were sent, and {rows} are there. "
            "Nothing was changed.",
            hint="the same command again; if it fails again, report it",
        )
    if (first, second) != sent.total:
        raise VerificationFailed(
            f"{table_map.target}: what is stored differs from what was sent. Nothing was changed.",
            hint="the same command with --debug, and report what it prints",
        )


def account(source_table: str, source_rows: int, inserted: int, rejected: int) -> None:
    """Raise VerificationFailed unless every row of the source is inserted or rejected."""
    if source_rows != inserted + rejected:
        raise VerificationFailed(
            f"{source_table}: {source_rows} rows in the source, but {inserted} inserted and "
            f"{rejected} rejected. Nothing was changed.",
            hint="the same command with --debug, and report what it prints",
        )
