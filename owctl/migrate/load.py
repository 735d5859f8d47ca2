"""The load: one transaction that inserts, verifies, accounts for every row, and only then commits.

Killed at any moment, the target is as it was before; run again, the result is the same.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from owctl.migrate import preparation
from owctl.migrate.copying import Refused, copy_all, copy_around, failed
from owctl.migrate.events import Receiver, TableProgress, TableStage, ignore
from owctl.migrate.json_tree import TreeReader
from owctl.migrate.mapping import convert, plan_tables
from owctl.migrate.model import Converted, Notes, Options, Reject, TableMap, Value
from owctl.migrate.reject_files import FOLDER_NAME, RejectFile
from owctl.migrate.rejects import make_reject
from owctl.migrate.results import (
    LoadResult,
    TableResult,
    check_all,
    table_result,
    unmapped_results,
)
from owctl.migrate.set_aside import SetAside
from owctl.migrate.source import Source
from owctl.migrate.target import look, refuse_unless_empty
from owctl.migrate.verify import SentRows, account, verify_table

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

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
        raise preparation.server_failed(error) from error


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
        preparation.configure(connection)
        preparation.lock(connection)
        found = look(connection)
        refuse_unless_empty(found, replace=request.replace)
        changes = preparation.relax(connection, request.source, found)
        options = replace(request.options, target_columns=look(connection).columns)
        if options.on_overflow == "widen":
            changes += preparation.widen(connection, request.source, options)
            options = replace(options, target_columns=look(connection).columns)
        plan = plan_tables(request.source, options)
        preparation.clear(connection, found, plan, replace=request.replace)
        tables = [self._table(each, options) for each in plan]
        rejects = request.folder / FOLDER_NAME
        tables += unmapped_results(request.source, options, rejects)
        check_all(request.source, tables)
        preparation.set_sequences(connection, options.target_columns)
        preparation.mark(connection, request.mark)
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

    def tell(self, stage: TableStage) -> None:
        """Report how far the table is."""
        self.run.receive(
            TableProgress(
                self.table_map.target, stage, self.read, self.source_rows, self.sent_bytes
            )
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
