"""Rows that are too large, or nested too deep, to be taken apart here: the server compares them.

They wait in an unnamed file until their table is loaded; no more than one is in memory.
"""

import marshal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from owctl.migrate.model import ColumnInfo, TableMap, Value
from owctl.project.private_file import cannot

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

# A tree of Python's objects takes many times the size of the text.
LARGEST_HASHED_BYTES = 2 << 20
_KEYS = ("id", "command")


class SetAside:
    """The rows of one table that are set aside; a context manager, gone when it is left.

    ``key_column`` is the column by which the server finds them, ``keys`` its values.
    """

    def __init__(self, table_map: TableMap, folder: Path) -> None:
        self.table_map = table_map
        self.key_column = next((n for n in _KEYS if n in table_map.columns), "")
        self.keys: list[Value] = []
        self._folder = folder
        self._file: Any = None

    def takes(self, values: Sequence[Value]) -> bool:
        """Whether a row is too large to be hashed here."""
        size = sum(len(value) for value in values if isinstance(value, bytes))
        return size > LARGEST_HASHED_BYTES

    def add(self, values: tuple[Value, ...]) -> None:
        """Keep a row for later; raises OwctlError where the disk does not take it."""
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  # for as long as the rows
            marshal.dump(values, self._file)
        except OSError as error:
            raise cannot("write into", self._folder, error) from error
        self.keys.append(values[self.table_map.columns.index(self.key_column)])

    def rows(self) -> Iterator[tuple[Value, ...]]:
        """Yield the rows, one after the other."""
        if self._file is None:
            return
        self._file.seek(0)
        for _ in self.keys:
            yield marshal.load(self._file)  # noqa: S302  # written by this process, unnamed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def differing(
    connection: "Connection", rows: SetAside, columns: Mapping[str, ColumnInfo]
) -> Iterator[Value]:
    """Yield the keys of rows that the table does not hold exactly once, value by value."""
    from psycopg import sql

    names = rows.table_map.columns
    # As bytes, not as text: nothing of it is copied or escaped on its way.
    tests = [
        sql.SQL("{} IS NOT DISTINCT FROM CAST({} AS {})").format(
            sql.Identifier(name),
            sql.SQL("convert_from(%b, 'UTF8')" if kind else "%s"),
            sql.SQL(columns[name].data_type),
        )
        for name, kind in ((name, _is_text(columns[name])) for name in names)
    ]
    query = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(
        sql.Identifier("public", rows.table_map.target), sql.SQL(" AND ").join(tests)
    )
    for key, values in zip(rows.keys, rows.rows(), strict=True):
        found = connection.execute(query, values).fetchone()
        if found != (1,):
            yield key


def _is_text(column: ColumnInfo) -> bool:
    return column.data_type not in ("bigint", "integer", "smallint", "boolean")
