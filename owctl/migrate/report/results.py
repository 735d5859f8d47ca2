"""How every source row is accounted for, table by table."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from owctl.migrate.convert.column_map import COLUMN_MAP, Options, Reject
from owctl.migrate.convert.mapping import fills, last_options, references_of
from owctl.migrate.convert.merged import Merged
from owctl.migrate.convert.references import References
from owctl.migrate.load.verify import VerificationFailed, account
from owctl.migrate.report.rejects import RejectFile, reject_all
from owctl.migrate.source.database import Source

# -- Every row of the source is in the target or among the rejects: counted, not believed.


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the rows of one source table."""

    source_rows: int
    converted: int = 0
    rejected: int = 0
    merged: int = 0

    @property
    def unaccounted(self) -> int:
        """Rows that are neither here nor there; anything but 0 is a fault."""
        return self.source_rows - self.converted - self.rejected - self.merged


def unaccounted(source: Source, accounts: Mapping[str, Account]) -> dict[str, int]:
    """Return, by source table, how many rows nobody accounts for; empty if all is well.

    Compares with the source as it is, so that a table that was forgotten is found too.
    """
    faults = {}
    for table in source.tables:
        account = accounts.get(table, Account(0))
        missing = source.rows_in(table) - account.converted - account.rejected - account.merged
        if missing:
            faults[table] = missing
    return faults


# -- Tables of the old database that have no table in the new one: every row is reported, with why.


REASONS: dict[str, tuple[str, str]] = {
    "oauth_session": ("not-carried-over", "users sign in again with their provider"),
    "document": ("legacy", "replaced by knowledge, into which the old backend had moved it"),
    "chatidtag": ("legacy", "tags of chats are in chat.meta since 0.4"),
    "modelfile": ("legacy", "replaced by model, into which the old backend had moved it"),
    "migratehistory": ("bookkeeping", "the old backend's list of its migrations"),
    "alembic_version": ("bookkeeping", "the old backend's mark of its migrations"),
    "channel_webhook": ("no-feature", "the new backend has no webhooks of channels"),
    "channel_file": ("no-feature", "the new backend keeps files of channels in their messages"),
    "config_old": ("set-anew", "settings as an earlier version of the old backend kept them"),
    "shared_chat": ("shared-snapshot", "snapshot of a shared chat; the chat itself is shown"),
    "chat_file": ("no-feature", "the new backend keeps files of chats in the chats themselves"),
}
_LEFTOVER = "_alembic_tmp_"
_MERGED: dict[str, Callable[[References], Merged]] = {
    "group_member": lambda references: references.members,
    "knowledge_file": lambda references: references.knowledge_files,
    "api_key": lambda references: references.api_keys,
    "access_grant": lambda references: references.grants,
}


def unmapped(source: Source, options: Options | None = None) -> Iterator[Reject]:
    """Yield a Reject for each row of each table that plan_tables does not name.

    ``options`` are those of the conversion; left out, those that the source was last used with.

    Rows that live on in other rows (members of groups, grants, API keys …) have a reason
    that begins with ``merged-``.
    """
    if options is None:
        options = last_options(source)
    for table in unmapped_tables(source, options):
        if table in _MERGED:
            yield from _verdicts(source, table, _MERGED[table](references_of(source, options)))
        else:
            yield from _all_alike(source, table)


def unmapped_tables(source: Source, options: Options) -> list[str]:
    """Return the tables of the source that fill no table of the target by themselves."""
    return [
        table
        for table in source.tables
        if table not in options.target_columns or not fills(table, source)
    ]


def _reason(table: str, source: Source) -> tuple[str, str]:
    if table in COLUMN_MAP and not fills(table, source):
        return "set-anew", "a setting of the old administration"
    if table in REASONS:
        return REASONS[table]
    if table.startswith(_LEFTOVER):
        return "bookkeeping", "left over by an interrupted migration of the old backend"
    if table in COLUMN_MAP:
        return "target-too-old", f"this version of the new backend has no table {table}"
    return "unknown-table", "a table that owctl does not know, of a newer version or an extension"


def _all_alike(source: Source, table: str) -> Iterator[Reject]:
    why = _reason(table, source)
    return reject_all(source, table, lambda _: why)


def _verdicts(source: Source, table: str, merged: Merged) -> Iterator[Reject]:
    known = {verdict.rowid: (verdict.reason, verdict.detail) for verdict in merged.verdicts}
    unread = ("unreadable", "the row lies on a damaged page")
    return reject_all(source, table, lambda rowid: known.get(rowid, unread))


# -- What became of each table's rows.


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
