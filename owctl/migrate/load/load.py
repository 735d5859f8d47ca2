"""The load in one transaction, and its rehearsal in the dry run."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from owctl.migrate.convert.column_map import Converted, Notes, Options, Reject, TableMap, Value
from owctl.migrate.convert.json_text import TreeReader
from owctl.migrate.convert.mapping import convert, overflows, plan_tables
from owctl.migrate.load import target
from owctl.migrate.load.copying import Refused, copy_all, copy_around, failed
from owctl.migrate.load.target import look, refuse_unless_empty
from owctl.migrate.load.verify import SentRows, SetAside, account, verify_table
from owctl.migrate.report.rejects import FOLDER_NAME, RejectFile, make_reject
from owctl.migrate.report.results import (
    LoadResult,
    TableResult,
    check_all,
    table_document,
    table_result,
    unmapped_results,
)
from owctl.migrate.source.database import Source
from owctl.progress import Event, Receiver, ignore

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]
    from owctl.migrate.load.target import Look


# -- The load: one transaction that inserts, verifies, accounts for every row, and only then commits.
# Killed at any moment, the target is as it was before; run again, the result is the same.


_REPORT_ROWS = 500
_REPORT_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What to load. ``folder`` gets the rejects; ``mark`` is left in the database as its sign.

    ``options.target_columns`` is looked up anew in the transaction. ``replace``: remove what is
    there; the caller has seen to a backup. ``before_commit`` gets the result when all is verified.
    """

    source: Source
    options: Options
    folder: Path
    mark: str
    replace: bool = False
    before_commit: Callable[["LoadResult"], None] = lambda _: None


def load(connection: "Connection", request: LoadRequest, receive: Receiver = ignore) -> LoadResult:
    """Load the source into the target's empty tables, verify, and commit.

    Raises OwctlError (VerificationFailed among them), and then nothing was changed.
    """
    import psycopg

    try:
        with connection.transaction():
            result = _Load(connection, request, receive).run()
            request.before_commit(result)
        return result
    except psycopg.Error as error:
        raise target.server_failed(error) from error


class _Load:
    """One load within its transaction."""

    def __init__(self, connection: "Connection", request: LoadRequest, receive: Receiver) -> None:
        self.connection = connection
        self.request = request
        self.receive = receive
        self.counts: Counter[tuple[str, str, str]] = Counter()

    def run(self) -> LoadResult:
        """Do everything but the commit."""
        began = time.monotonic()
        connection, request = self.connection, self.request
        target.configure(connection)
        target.lock(connection)
        found = look(connection)
        refuse_unless_empty(found, replace=request.replace)
        changes = target.relax(connection, request.source, found)
        options = replace(request.options, target_columns=look(connection).columns)
        if options.on_overflow == "widen":
            changes += target.widen(connection, request.source, options)
            options = replace(options, target_columns=look(connection).columns)
        plan = plan_tables(request.source, options)
        target.clear(connection, found, plan, replace=request.replace)
        tables = [self._table(each, options) for each in plan]
        rejects = request.folder / FOLDER_NAME
        tables += unmapped_results(request.source, options, rejects)
        check_all(request.source, tables)
        target.set_sequences(connection, options.target_columns)
        target.mark(connection, request.mark)
        notes = tuple((*where, count) for where, count in sorted(self.counts.items()))
        seconds = time.monotonic() - began
        return LoadResult(tuple(tables), notes, tuple(changes), rejects, found.schema, seconds)

    def _table(self, table_map: TableMap, options: Options) -> TableResult:
        try:
            return self._attempt(table_map, options, around=False)
        except Refused:
            return self._attempt(table_map, options, around=True)

    def _attempt(self, table_map: TableMap, options: Options, *, around: bool) -> TableResult:
        with SetAside(table_map, self.request.folder) as aside:
            attempt = _Attempt(self, table_map, options, aside)
            if around:
                attempt.around()
            else:
                attempt.whole()
            result = attempt.result()
            account(table_map.source, result.source_rows, result.inserted, result.rejected)
            attempt.tell("verifying")
            columns = options.target_columns[table_map.target]
            verify_table(self.connection, table_map, columns, attempt.sent)
        for table, column, kind, count in attempt.notes.items():
            self.counts[table, column, kind] += count
        attempt.tell("verified")
        return result


class _Attempt:
    """One table's rows on their way: converted, counted, hashed, rejected."""

    def __init__(self, run: _Load, table_map: TableMap, options: Options, aside: SetAside) -> None:
        self.run = run
        self.table_map = table_map
        self.options = options
        self.notes = Notes()
        self.reader = TreeReader()
        columns = options.target_columns[table_map.target]
        self.kinds = [columns[name].data_type for name in table_map.columns]
        self.sent = SentRows(table_map, columns, aside, self.reader)
        self.source_rows = run.request.source.rows_in(table_map.source)
        self.rejects = RejectFile(run.request.folder / FOLDER_NAME, table_map.source)
        self.read = 0
        self.sent_bytes = 0
        self._told = 0.0

    def whole(self) -> None:
        """Copy all rows in one stream; raises Refused."""
        import psycopg

        try:
            with self.rejects:
                self.sent_bytes = copy_all(
                    self.run.connection, self.table_map, self._hashed(), self.kinds
                )
        except psycopg.Error as error:
            raise failed(self.table_map, error) from error

    def around(self) -> None:
        """Copy all rows but those that the server refuses."""
        import psycopg

        def accepted(row: Converted) -> None:
            self.sent.add(row.values)

        connection, rows = self.run.connection, self._converted()
        source, table = self.run.request.source, self.table_map.source
        try:
            with self.rejects:
                for row, words in copy_around(connection, self.table_map, rows, accepted):
                    detail = f"PostgreSQL refused it: {words}"
                    self.rejects.add(
                        make_reject(source, table, row.rowid, "refused-by-server", detail)
                    )
        except psycopg.Error as error:
            raise failed(self.table_map, error) from error

    def result(self) -> TableResult:
        """Return the counts."""
        return table_result(
            self.rejects,
            self.table_map.target,
            self.source_rows,
            self.sent.rows,
            self.sent_bytes,
        )

    def tell(self, stage: str) -> None:
        """Report how far the table is."""
        name, rows = self.table_map.target, self.source_rows
        self.run.receive(
            Event("load", "working", stage, "rows", name, self.read, rows, self.sent_bytes)
        )

    def _hashed(self) -> Iterator[tuple[Value, ...]]:
        add = self.sent.add
        for row in self._converted():
            add(row.values)
            yield row.values

    def _converted(self) -> Iterator[Converted]:
        """Yield the rows that convert; the others go into the rejects."""
        source = self.run.request.source
        for row in convert(source, self.table_map, self.options, self.notes, self.reader):
            self.read += 1
            if self.read % _REPORT_ROWS == 0 and time.monotonic() - self._told > _REPORT_SECONDS:
                self._told = time.monotonic()
                self.tell("loading")
            if isinstance(row, Reject):
                self.rejects.add(row)
            else:
                yield row


# -- A migration without its writes: every row is read and converted, nothing is stored anywhere.


_REHEARSED_ROWS = 2000


def rehearse(
    source: Source,
    options: Options,
    found: "Look",
    receive: Receiver = ignore,
    on_reject: Callable[[Reject], None] = lambda _: None,
) -> dict[str, Any]:
    """Convert everything, and return what a load would report, as ``results.to_document`` does.

    Raises OwctlError for what would stop the load. What the server itself might refuse shows only
    in the load.
    """
    changes = [
        f"message.{column} would become nullable, as messages of channels need it"
        for column in target.needs_null(source, found)
    ]
    options = replace(options, target_columns=_relaxed(source, found))
    if options.on_overflow == "widen":
        changes += [
            f"{table}.{column} would become text" for table, column in overflows(source, options)
        ]
    counts: Counter[tuple[str, str, str]] = Counter()
    tables = [
        _table(source, table_map, options, counts, receive, on_reject)
        for table_map in plan_tables(source, options)
    ]
    tables += unmapped_results(source, options, None, on_reject)
    check_all(source, tables)
    return {
        "tables": [table_document(table) for table in tables],
        "notes": [
            {"table": table, "column": column, "kind": kind, "count": count}
            for (table, column, kind), count in sorted(counts.items())
        ],
        "changes": changes,
    }


def _table(
    source: Source,
    table_map: TableMap,
    options: Options,
    counts: Counter[tuple[str, str, str]],
    receive: Receiver,
    on_reject: Callable[[Reject], None],
) -> TableResult:
    notes, rejects = Notes(), RejectFile(None, table_map.source)
    source_rows = source.rows_in(table_map.source)
    inserted = size = 0

    def tell(stage: str, rows: int) -> None:
        name = table_map.target
        receive(Event("rehearsal", "working", stage, "rows", name, rows, source_rows))

    for number, row in enumerate(convert(source, table_map, options, notes), 1):
        if isinstance(row, Reject):
            rejects.add(row)
            on_reject(row)
        else:
            inserted += 1
            size += sum(len(value) for value in row.values if isinstance(value, bytes))
        if number % _REHEARSED_ROWS == 0:
            tell("loading", number)
    tell("verified", source_rows)
    for table, column, kind, count in notes.items():
        counts[table, column, kind] += count
    account(table_map.source, source_rows, inserted, rejects.total)
    return table_result(rejects, table_map.target, source_rows, inserted, size)


def _relaxed(source: Source, found: "Look") -> dict[str, Any]:
    columns = {table: dict(names) for table, names in found.columns.items()}
    for name in target.needs_null(source, found):
        columns["message"][name] = replace(columns["message"][name], nullable=True)
    return columns
