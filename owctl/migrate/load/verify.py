"""Whether what was loaded is what was read: every row's content by one canonical form, on both sides."""

import json
import marshal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from owctl.errors import OwctlError
from owctl.migrate.convert.column_map import ColumnInfo, TableMap, Value
from owctl.migrate.convert.json_text import OddNumber, TreeReader
from owctl.project.private_file import cannot

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]


# -- Rows that are too large, or nested too deep, to be taken apart here: the server compares them.
# They wait in an unnamed file until their table is loaded; no more than one is in memory.


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


# -- A row as one text that both sides can make: here from what is sent, there from what is stored.
# The server's is ``json_build_array(column, …)::text``. JSONB comes back with its keys in an order of
# its own (shorter first, then by bytes), without duplicates, and with numbers written out. What is
# made here has the same form, to the byte, so that equal hashes mean equal content.


_JSON = ("jsonb", "json")
_HALF = 8
_ESCAPED = json.encoder.encode_basestring


class TooDeep(Exception):
    """A row's JSON is nested deeper than Python can follow."""


class RowHasher:
    """Adds up the hashes of a table's rows; the order of the rows does not matter.

    ``kinds`` are the columns' types as information_schema names them, ``reader`` is who has parsed
    the rows' JSON before, if somebody has. ``total`` is the sum that
    ``digest_query`` makes of the same rows on the server: two numbers.
    """

    def __init__(self, kinds: Sequence[str], reader: TreeReader | None = None) -> None:
        self.rows = 0
        self._first = 0
        self._second = 0
        self._reader = reader or TreeReader()
        self._encode = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
        self._others = [
            (number, _timestamp if kind.startswith("timestamp") else _decoded)
            for number, kind in enumerate(kinds)
            if kind not in _JSON
        ]
        self._json = [number for number, kind in enumerate(kinds) if kind in _JSON]

    @property
    def total(self) -> tuple[int, int]:
        """The two halves' sums."""
        return self._first, self._second

    def add(self, values: Sequence[Value]) -> None:
        """Take one row's values, in the order of the columns; raises TooDeep, then it is not in."""
        digest = self.digest(values)
        self._first += int.from_bytes(digest[:_HALF], "big", signed=True)
        self._second += int.from_bytes(digest[_HALF : 2 * _HALF], "big", signed=True)
        self.rows += 1

    def digest(self, values: Sequence[Value]) -> bytes:
        """Return the SHA-256 of one row's text."""
        return sha256(self.text(values).encode()).digest()

    def text(self, values: Sequence[Value]) -> str:
        """Return one row's text; raises TooDeep."""
        try:
            return self._text(values)
        except RecursionError as error:
            raise TooDeep from error

    def _text(self, values: Sequence[Value]) -> str:
        try:
            row: list[Any] = list(values)
            for number in self._json:
                if row[number] is not None:
                    row[number] = self._reader.tree(row[number])
        except (OddNumber, ValueError):
            # ValueError: an integer too long for Python to read by default.
            return self._exact(values)
        for number, normalise in self._others:
            value = row[number]
            if value.__class__ is bytes:
                row[number] = normalise(value)
        return self._encode(row)

    def _exact(self, values: Sequence[Value]) -> str:
        """Return the same text, number by number: slower, for rows with rare numbers."""
        row: list[Any] = list(values)
        for number in self._json:
            value = row[number]
            if isinstance(value, bytes):
                row[number] = json.loads(
                    value,
                    object_hook=self._reader.ordered,
                    parse_float=_Number,
                    parse_int=_Number,
                    strict=False,
                )
        for number, normalise in self._others:
            value = row[number]
            if isinstance(value, bytes):
                row[number] = normalise(value)
        return _written(row)


def digest_query(columns: Sequence[tuple[str, str]], table: str, but: str = "") -> str:
    """Return the SQL of the number of rows and the two sums.

    ``columns`` are (name, type), ``table`` is a name; names are quoted already. ``but`` is a
    column: rows whose value there is in the query's parameter, an array, are left out.
    """
    names = ", ".join(
        f"to_char({name}, 'YYYY-MM-DD HH24:MI:SS.US')" if kind.startswith("timestamp") else name
        for name, kind in columns
    )
    digest = f"sha256(convert_to(json_build_array({names})::text, 'UTF8'))"
    halves = ", ".join(
        f"coalesce(sum(('x' || encode(substr(digest, {start}, {_HALF}), 'hex'))"
        "::bit(64)::bigint::numeric), 0)"
        for start in (1, 1 + _HALF)
    )
    where = f" WHERE {but} <> ALL(%s)" if but else ""
    # OFFSET 0 keeps the inner query apart: merged with the outer one, it would make each hash twice.
    inner = f"SELECT {digest} AS digest FROM {table}{where} OFFSET 0"
    return f"SELECT count(*), {halves} FROM ({inner}) AS d"


class _Number(str):
    """A number's text, as it stands in JSON."""

    __slots__ = ()


def numeric_text(text: str) -> str:
    """Return a JSON number as PostgreSQL's numeric writes it."""
    written = format(Decimal(text), "f")
    return written.lstrip("-") if not written.strip("-0.") else written


def _written(tree: Any) -> str:  # noqa: ANN401  # any JSON value
    if isinstance(tree, _Number):
        return numeric_text(tree)
    if isinstance(tree, dict):
        pairs = (f"{_ESCAPED(name)}: {_written(value)}" for name, value in tree.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(_written, tree)) + "]"
    return json.dumps(tree, ensure_ascii=False)


def _decoded(value: bytes) -> str:
    return value.decode()


def _timestamp(value: bytes) -> str:
    moment = datetime.fromisoformat(value.decode())
    return moment.isoformat(sep=" ", timespec="microseconds")


# -- Does the target hold what was sent? Counts and hashes of whole rows, in the loading transaction.


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
