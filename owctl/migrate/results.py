"""What became of each table's rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from owctl.migrate.accounting import Account, unaccounted
from owctl.migrate.model import Options, Reject
from owctl.migrate.reject_files import RejectFile
from owctl.migrate.source import Source
from owctl.migrate.unmapped import unmapped
from owctl.migrate.verify import VerificationFailed, account


@dataclass(frozen=True, slots=True)
class TableResult:
    """What became of a source table. ``merged`` of the ``rejected`` live on in other rows.

    ``target`` is None for a table that has none; ``reasons`` counts the rejects.
    """

    source: str
    target: str | None
    source_rows: int
    inserted: int
    rejected: int
    merged: int = 0
    sent_bytes: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[Reject, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadResult:
    """A load that was verified and committed.

    ``notes`` are (table, column, kind, count) of what was changed on the way; ``changes`` are
    sentences about what was altered in the target beyond its rows.
    """

    tables: tuple[TableResult, ...]
    notes: tuple[tuple[str, str, str, int], ...]
    changes: tuple[str, ...]
    rejects_path: Path
    schema: str
    duration_seconds: float


def table_result(
    rejects: RejectFile, target: str | None, source_rows: int, inserted: int, sent_bytes: int = 0
) -> TableResult:
    """Return a table's result from its counts and its rejects."""
    return TableResult(
        rejects.table,
        target,
        source_rows,
        inserted,
        rejects.total,
        rejects.merged,
        sent_bytes,
        dict(rejects.counts),
        tuple(rejects.examples),
    )


def unmapped_results(
    source: Source,
    options: Options,
    folder: Path | None,
    on_reject: Callable[[Reject], None] = lambda _: None,
) -> list[TableResult]:
    """Write the rows of tables without a target to the rejects; return what was found, by table."""
    results = []
    for table, found in groupby(unmapped(source, options), lambda reject: reject.source_table):
        with RejectFile(folder, table) as rejects:
            for reject in found:
                rejects.add(reject)
                on_reject(reject)
        rows = source.rows_in(table)
        account(table, rows, 0, rejects.total)
        results.append(table_result(rejects, None, rows, 0))
    return results


def to_document(result: LoadResult) -> dict[str, Any]:
    """Return a load's result as the report holds it."""
    return {
        "tables": [table_document(table) for table in result.tables],
        "notes": [
            {"table": table, "column": column, "kind": kind, "count": count}
            for table, column, kind, count in result.notes
        ],
        "changes": list(result.changes),
        "rejects_path": str(result.rejects_path),
        "duration_ms": round(result.duration_seconds * 1000),
    }


def table_document(table: TableResult) -> dict[str, Any]:
    """Return a table's result as the report holds it."""
    return {
        "source": table.source,
        "target": table.target,
        "source_rows": table.source_rows,
        "inserted": table.inserted,
        "rejected": table.rejected,
        "merged": table.merged,
        "sent_bytes": table.sent_bytes,
        "reasons": dict(table.reasons),
        "examples": [
            {"key": dict(each.key), "reason": each.reason, "detail": each.detail}
            for each in table.examples
        ],
    }


def check_all(source: Source, tables: Sequence[TableResult]) -> None:
    """Raise VerificationFailed if a row of any table of the source is unaccounted for."""
    accounts = {
        table.source: Account(
            table.source_rows, table.inserted, table.rejected - table.merged, table.merged
        )
        for table in tables
    }
    faults = unaccounted(source, accounts)
    if faults:
        raise VerificationFailed(
            "Rows of the source are unaccounted for: "
            + ", ".join(f"{table} {count}" for table, count in faults.items())
            + ". Nothing was changed.",
            hint="the same command with --debug, and report what it prints",
        )
