"""Tables of the old database that have no table in the new one: every row is reported, with why."""

from collections.abc import Callable, Iterator

from owctl.migrate.column_map import COLUMN_MAP
from owctl.migrate.derived import Merged
from owctl.migrate.mapping import last_options, references_of
from owctl.migrate.model import Options, Reject
from owctl.migrate.references import References
from owctl.migrate.rejects import reject_all
from owctl.migrate.source import Source

REASONS: dict[str, tuple[str, str]] = {
    "oauth_session": ("not-carried-over", "users sign in again with their provider"),
    "document": ("legacy", "replaced by knowledge, into which the old backend had moved it"),
    "chatidtag": ("legacy", "tags of chats are in chat.meta since 0.4"),
    "modelfile": ("legacy", "replaced by model, into which the old backend had moved it"),
    "migratehistory": ("bookkeeping", "the old backend's list of its migrations"),
    "alembic_version": ("bookkeeping", "the old backend's mark of its migrations"),
    "channel_webhook": ("no-feature", "the new backend has no webhooks of channels"),
    "channel_file": ("no-feature", "the new backend keeps files of channels in their messages"),
    "chat_file": ("no-feature", "the new backend keeps files of chats in the chats themselves"),
}
_LEFTOVER = "_alembic_tmp_"
_MERGED: dict[str, Callable[[References], Merged]] = {
    "group_member": lambda references: references.members,
    "knowledge_file": lambda references: references.knowledge_files,
    "api_key": lambda references: references.api_keys,
}


def unmapped(source: Source, options: Options | None = None) -> Iterator[Reject]:
    """Yield a Reject for each row of each table that plan_tables does not name.

    ``options`` are those of the conversion; left out, those that the source was last used with.

    Rows that live on in other rows (members of groups, files of knowledge, API keys) have a reason
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
        if table not in COLUMN_MAP or table not in options.target_columns
    ]


def _reason(table: str) -> tuple[str, str]:
    if table in REASONS:
        return REASONS[table]
    if table.startswith(_LEFTOVER):
        return "bookkeeping", "left over by an interrupted migration of the old backend"
    if table in COLUMN_MAP:
        return "target-too-old", f"this version of the new backend has no table {table}"
    return "unknown-table", "a table that owctl does not know, of a newer version or an extension"


def _all_alike(source: Source, table: str) -> Iterator[Reject]:
    why = _reason(table)
    return reject_all(source, table, lambda _: why)


def _verdicts(source: Source, table: str, merged: Merged) -> Iterator[Reject]:
    known = {verdict.rowid: (verdict.reason, verdict.detail) for verdict in merged.verdicts}
    unread = ("unreadable", "the row lies on a damaged page")
    return reject_all(source, table, lambda rowid: known.get(rowid, unread))
