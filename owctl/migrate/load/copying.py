"""Rows on their way into PostgreSQL: COPY's binary format, and text around what the server refuses."""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from owctl.errors import OwctlError
from owctl.migrate.convert.column_map import Converted, TableMap, Value

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]


# -- Rows as COPY FROM STDIN takes them: as text, or in its binary format, which the server reads faster.
# Formats: https://www.postgresql.org/docs/current/sql-copy.html. The binary one needs each value in the
# form of its column's type, so it is for rows that keep to ``Converted``; text goes everywhere.


_PIECE_BYTES = 1 << 18
_ESCAPES = ((b"\\", b"\\\\"), (b"\n", b"\\n"), (b"\r", b"\\r"), (b"\t", b"\\t"))
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
# jsonb's own format has a version before the text.
_BYTES = {"text": b"", "character varying": b"", "json": b"", "jsonb": b"\x01"}
_NUMBERS = {"bigint": ">iq", "integer": ">ii", "smallint": ">ih"}
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_LONGEST_BYTES = (1 << 30) - 2


class Unfit(Exception):
    """A value that its column cannot take, as far as can be told without the server."""


class CopyStream:
    """Sends rows in pieces; a large value is never copied whole. ``sent_bytes`` counts them."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self.sent_bytes = 0
        self._send = send
        self._pending: list[bytes] = []
        self._pending_bytes = 0

    def row(self, values: Sequence[Value]) -> None:
        """Send a row, or keep it for the next piece."""
        raise NotImplementedError

    def end(self) -> None:
        """Send what was kept: there are no more rows."""
        self._flush()

    def _add(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_bytes += len(data)

    def _flush(self) -> None:
        if self._pending:
            self._send(b"".join(self._pending))
            self.sent_bytes += self._pending_bytes
            self._pending.clear()
            self._pending_bytes = 0

    def _flush_if_full(self) -> None:
        if self._pending_bytes >= _PIECE_BYTES:
            self._flush()


class TextStream(CopyStream):
    """COPY's text format."""

    options = ""

    def row(self, values: Sequence[Value]) -> None:
        """Send a row, or keep it for the next piece."""
        separator = b""
        for value in values:
            if isinstance(value, bytes):
                self._add(separator)
                for start in range(0, len(value), _PIECE_BYTES):
                    self._add(_escaped(value[start : start + _PIECE_BYTES]))
                    self._flush_if_full()
            else:
                self._add(separator + _plain(value))
            separator = b"\t"
        self._add(b"\n")
        self._flush_if_full()


class BinaryStream(CopyStream):
    """COPY's binary format, for columns of the ``kinds`` that information_schema names."""

    options = "(FORMAT binary)"

    def __init__(self, send: Callable[[bytes], object], kinds: Sequence[str]) -> None:
        super().__init__(send)
        self._row = struct.pack(">h", len(kinds))
        self._before = [_BYTES.get(kind) for kind in kinds]
        self._pack = [_PACK.get(kind) for kind in kinds]
        self._add(_SIGNATURE)

    @staticmethod
    def takes(kinds: Sequence[str]) -> bool:
        """Return whether all of these types are known here."""
        return all(kind in _BYTES or kind in _PACK for kind in kinds)

    def row(self, values: Sequence[Value]) -> None:
        """Send a row, or keep it for the next piece. Raises Unfit, and then the stream is of no use."""
        self._add(self._row)
        for value, before, pack in zip(values, self._before, self._pack, strict=True):
            if value is None:
                self._add(_NULL)
            elif pack is not None:
                self._add(pack(value))
            elif isinstance(value, bytes) and len(value) <= _LONGEST_BYTES and before is not None:
                self._bytes(before, value)
            else:
                raise Unfit
        self._flush_if_full()

    def end(self) -> None:
        """Send what was kept, and that there are no more rows."""
        self._add(_END)
        super().end()

    def _bytes(self, before: bytes, value: bytes) -> None:
        self._add(struct.pack(">i", len(before) + len(value)) + before)
        if len(value) <= _PIECE_BYTES:
            self._add(value)
            return
        for start in range(0, len(value), _PIECE_BYTES):
            self._add(value[start : start + _PIECE_BYTES])
            self._flush_if_full()


def _escaped(value: bytes) -> bytes:
    """Return a text as COPY's text format wants it."""
    for plain, written in _ESCAPES:
        if plain in value:
            value = value.replace(plain, written)
    return value


def _plain(value: int | None) -> bytes:
    if value is None:
        return b"\\N"
    if value is True:
        return b"t"
    if value is False:
        return b"f"
    return str(value).encode()


def _number(form: str) -> Callable[[Value], bytes]:
    size = struct.calcsize(form) - 4
    pack = struct.Struct(form).pack

    def packed(value: Value) -> bytes:
        if value.__class__ is not int:
            raise Unfit
        try:
            return pack(size, value)
        except struct.error as error:
            raise Unfit from error

    return packed


def _boolean(value: Value) -> bytes:
    if value is True:
        return b"\0\0\0\x01\x01"
    if value is False:
        return b"\0\0\0\x01\0"
    raise Unfit


def _timestamp(value: Value) -> bytes:
    try:
        moment = datetime.fromisoformat(_words(value))
    except ValueError as error:
        raise Unfit from error
    if moment.tzinfo is not None:
        raise Unfit
    since = moment.replace(tzinfo=UTC) - _EPOCH
    microseconds = (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds
    return struct.pack(">iq", 8, microseconds)


def _date(value: Value) -> bytes:
    try:
        day = date.fromisoformat(_words(value))
    except ValueError as error:
        raise Unfit from error
    return struct.pack(">ii", 4, (day - _EPOCH.date()).days)


def _words(value: Value) -> str:
    if not isinstance(value, bytes):
        raise Unfit
    return value.decode()


_PACK: dict[str, Callable[[Value], bytes]] = {
    **{kind: _number(form) for kind, form in _NUMBERS.items()},
    "boolean": _boolean,
    "timestamp without time zone": _timestamp,
    "date": _date,
}


# -- Rows into a table by COPY: as one stream, or, where the server refuses one of them, around it.


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
