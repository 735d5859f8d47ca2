"""Reads what can be read of a table some pages of which are damaged."""

import itertools
import sqlite3
from array import array
from collections.abc import Sequence

from owctl.migrate.identifiers import quoted
from owctl.migrate.values import Raw

_ROWID_NAMES = ("rowid", "_rowid_", "oid")


def rowid_name(connection: sqlite3.Connection, table: str) -> str | None:
    """Return a name of the row's own number that no column takes; None where rows have none."""
    found = connection.execute(f"PRAGMA table_xinfo({quoted(table)})").fetchall()
    taken = {row[1].decode("utf-8", "replace").lower() for row in found}
    for name in _ROWID_NAMES:
        if name not in taken:
            try:
                connection.execute(f"SELECT {name} FROM {quoted(table)} LIMIT 0")
            except sqlite3.OperationalError:  # made WITHOUT ROWID
                return None
            return name
    return None


def find_rowids(connection: sqlite3.Connection, table: str, number: str) -> Sequence[int]:
    """Return the rowids of the table, ascending: those that a walk from either end meets, and
    those that an index still knows of. A row that none of them names cannot be told from nothing.

    ``number`` is the rowid's name there.
    """
    found: set[int] = set()
    name = quoted(table)
    for order in ("ASC", "DESC"):
        _collect(
            connection, f"SELECT {number} FROM {name} NOT INDEXED ORDER BY {number} {order}", found
        )
    for index in _indexes(connection, table):
        _collect(connection, f"SELECT {number} FROM {name} INDEXED BY {quoted(index)}", found)
    _fill_between(connection, name, number, found)
    return array("q", sorted(found))


def read_row(
    connection: sqlite3.Connection, table: str, number: str, columns: Sequence[str], rowid: int
) -> tuple[Raw, ...] | str:
    """Return the columns of a row, or why it cannot be read."""
    names = ", ".join(map(quoted, columns)) or "NULL"
    try:
        row: tuple[Raw, ...] | None = connection.execute(
            f"SELECT {names} FROM {quoted(table)} NOT INDEXED WHERE {number} = ?", (rowid,)
        ).fetchone()
    except sqlite3.DatabaseError as error:
        return str(error)
    if row is None:
        return "an index names the row, but the table does not have it"
    return row if columns else ()


def _collect(connection: sqlite3.Connection, statement: str, found: set[int]) -> None:
    try:
        for (rowid,) in connection.execute(statement):
            found.add(rowid)
    except sqlite3.DatabaseError:
        return


def _fill_between(connection: sqlite3.Connection, name: str, number: str, found: set[int]) -> None:
    """Walk on behind each damaged page: from every known rowid whose successor is unknown."""
    known = sorted(found)
    for rowid, following in itertools.pairwise(known):
        if following > rowid + 1:
            _collect(
                connection,
                f"SELECT {number} FROM {name} NOT INDEXED"
                f" WHERE {number} > {rowid} AND {number} < {following}",
                found,
            )


def _indexes(connection: sqlite3.Connection, table: str) -> list[str]:
    try:
        rows = connection.execute(f"PRAGMA index_list({quoted(table)})").fetchall()
    except sqlite3.DatabaseError:
        return []
    return [row[1].decode("utf-8", "replace") for row in rows if not row[4]]
