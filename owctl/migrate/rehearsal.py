"""A migration without its writes: every row is read and converted, nothing is stored anywhere."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from owctl.migrate import preparation
from owctl.migrate.events import Receiver, TableProgress, ignore
from owctl.migrate.mapping import convert, overflows, plan_tables
from owctl.migrate.model import Notes, Options, Reject, TableMap
from owctl.migrate.reject_files import RejectFile
from owctl.migrate.results import (
    TableResult,
    check_all,
    table_document,
    table_result,
    unmapped_results,
)
from owctl.migrate.source import Source
from owctl.migrate.verify import account

if TYPE_CHECKING:
    from owctl.migrate.target import Look

_REPORT_ROWS = 2000


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
        for column in preparation.needs_null(source, found)
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
    for number, row in enumerate(convert(source, table_map, options, notes), 1):
        if isinstance(row, Reject):
            rejects.add(row)
            on_reject(row)
        else:
            inserted += 1
            size += sum(len(value) for value in row.values if isinstance(value, bytes))
        if number % _REPORT_ROWS == 0:
            receive(TableProgress(table_map.target, "loading", number, source_rows))
    receive(TableProgress(table_map.target, "verified", source_rows, source_rows))
    for table, column, kind, count in notes.items():
        counts[table, column, kind] += count
    account(table_map.source, source_rows, inserted, rejects.total)
    return table_result(rejects, table_map.target, source_rows, inserted, size)


def _relaxed(source: Source, found: "Look") -> dict[str, Any]:
    columns = {table: dict(names) for table, names in found.columns.items()}
    for name in preparation.needs_null(source, found):
        columns["message"][name] = replace(columns["message"][name], nullable=True)
    return columns
