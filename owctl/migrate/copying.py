"""Rows into a table by COPY: as one stream, or, where the server refuses one of them, around it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from owctl.errors import OwctlError
from owctl.migrate.copy_format import BinaryStream, TextStream, Unfit
from owctl.migrate.model import Converted, TableMap, Value

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

_CHUNK_ROWS = 256
_CHUNK_BYTES = 4 << 20


class Refused(Exception):
    """The server refused some row of a stream; the whole stream is undone."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def copy_all(
    connection: "Connection",
    table_map: TableMap,
    rows: Iterable[tuple[Value, ...]],
    kinds: Sequence[str] = (),
) -> int:
    """Copy rows in one stream within a savepoint; returns the bytes sent.

    ``kinds`` are the columns' types, where they are known: then the faster format is used. Raises
    Refused if one of the rows cannot be taken: then none of them is there. Other failures of the
    server are psycopg's.
    """
    import psycopg
    from psycopg import sql

    binary = bool(kinds) and BinaryStream.takes(kinds)
    statement = sql.SQL("COPY public.{} ({}) FROM STDIN {}").format(
        sql.Identifier(table_map.target),
        sql.SQL(", ").join(map(sql.Identifier, table_map.columns)),
        sql.SQL(BinaryStream.options if binary else TextStream.options),
    )
    try:
        with (
            connection.transaction(),
            connection.cursor() as cursor,
            cursor.copy(statement) as copy,
        ):
            stream = BinaryStream(copy.write, kinds) if binary else TextStream(copy.write)
            for values in rows:
                stream.row(values)
            stream.end()
    except Unfit as error:
        raise Refused("a value does not fit its column") from error
    except (
        psycopg.DataError,
        psycopg.IntegrityError,
        psycopg.errors.ProgramLimitExceeded,
        psycopg.errors.StatementTooComplex,
    ) as error:
        raise Refused(server_words(error)) from error
    return stream.sent_bytes


def copy_around(
    connection: "Connection",
    table_map: TableMap,
    rows: Iterable[Converted],
    accepted: Callable[[Converted], None],
) -> Iterator[tuple[Converted, str]]:
    """Copy rows so that one the server refuses does not take others with it.

    Yields the refused ones, each with the server's words.

    Small chunks, halved where one is refused. A row that refers to one that comes later is tried
    again at the end.
    """
    again: list[Converted] = []
    for chunk in _chunks(rows):
        again += [row for row, _ in _copy_chunk(connection, table_map, chunk, accepted)]
    while again:
        refused = list(_copy_chunk(connection, table_map, again, accepted))
        if len(refused) == len(again):
            yield from refused
            return
        again = [row for row, _ in refused]


def server_words(error: Exception) -> str:
    """Return what the server said, in one line, without the values of the row."""
    diagnosis = getattr(error, "diag", None)
    primary = getattr(diagnosis, "message_primary", None) or str(error).partition("\n")[0]
    return str(primary).rstrip(".")


def failed(table_map: TableMap, error: Exception) -> OwctlError:
    """Return the error for a server that failed while a table was loaded."""
    return OwctlError(
        f"PostgreSQL failed while {table_map.target} was loaded: {server_words(error)}.",
        hint="owctl doctor and owctl logs postgres; the new database is as it was before",
    )


def _copy_chunk(
    connection: "Connection",
    table_map: TableMap,
    chunk: list[Converted],
    accepted: Callable[[Converted], None],
) -> Iterator[tuple[Converted, str]]:
    try:
        copy_all(connection, table_map, (row.values for row in chunk))
    except Refused as refused:
        if len(chunk) == 1:
            yield chunk[0], refused.message
            return
        middle = len(chunk) // 2
        for half in (chunk[:middle], chunk[middle:]):
            yield from _copy_chunk(connection, table_map, half, accepted)
        return
    for row in chunk:
        accepted(row)


def _chunks(rows: Iterable[Converted]) -> Iterator[list[Converted]]:
    chunk: list[Converted] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += sum(len(value) for value in row.values if isinstance(value, bytes))
        if len(chunk) >= _CHUNK_ROWS or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
