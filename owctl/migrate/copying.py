"""Rows into a table by COPY: as one stream, or, where the server refuses one of them, around it."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from owctl.errors import OwctlError
from owctl.migrate.model import Converted, TableMap, Value

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

_PIECE_BYTES = 1 << 18
_CHUNK_ROWS = 256
_CHUNK_BYTES = 4 << 20
_ESCAPES = ((b"\\", b"\\\\"), (b"\n", b"\\n"), (b"\r", b"\\r"), (b"\t", b"\\t"))


class Refused(Exception):
    """The server refused some row of a stream; the whole stream is undone."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class CopyStream:
    """Text for COPY FROM STDIN, sent in pieces; a large value is never copied whole."""

    def __init__(self, send: Callable[[bytes], Any]) -> None:
        self.sent_bytes = 0
        self._send = send
        self._pending: list[bytes] = []
        self._pending_bytes = 0

    def row(self, values: tuple[Value, ...]) -> None:
        """Send a row, or keep it for the next piece."""
        separator = b""
        for value in values:
            if isinstance(value, bytes):
                self._text(separator, value)
            else:
                self._add(separator + _plain(value))
            separator = b"\t"
        self._add(b"\n")
        if self._pending_bytes >= _PIECE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what was kept."""
        if self._pending:
            self._send(b"".join(self._pending))
            self.sent_bytes += self._pending_bytes
            self._pending.clear()
            self._pending_bytes = 0

    def _text(self, separator: bytes, value: bytes) -> None:
        if len(value) <= _PIECE_BYTES:
            self._add(separator + escaped(value))
            return
        self._add(separator)
        for start in range(0, len(value), _PIECE_BYTES):
            self._add(escaped(value[start : start + _PIECE_BYTES]))
            self.flush()

    def _add(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_bytes += len(data)


def escaped(value: bytes) -> bytes:
    """Return a text as COPY's text format wants it."""
    for plain, written in _ESCAPES:
        if plain in value:
            value = value.replace(plain, written)
    return value


def copy_all(
    connection: "Connection", table_map: TableMap, rows: Iterable[tuple[Value, ...]]
) -> int:
    """Copy rows in one stream within a savepoint; returns the bytes sent.

    Raises Refused if the server does not take one of them: then none of them is there. Other
    failures of the server are psycopg's.
    """
    import psycopg
    from psycopg import sql

    statement = sql.SQL("COPY public.{} ({}) FROM STDIN").format(
        sql.Identifier(table_map.target), sql.SQL(", ").join(map(sql.Identifier, table_map.columns))
    )
    try:
        with (
            connection.transaction(),
            connection.cursor() as cursor,
            cursor.copy(statement) as copy,
        ):
            stream = CopyStream(copy.write)
            for values in rows:
                stream.row(values)
            stream.flush()
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


def _plain(value: int | None) -> bytes:
    if value is None:
        return b"\\N"
    if value is True:
        return b"t"
    if value is False:
        return b"f"
    return str(value).encode()
