"""Who may read a row in the new database: policies, members of channels, prompts, links of shared chats."""

import json
from collections.abc import Callable
from typing import Any

from owctl.errors import OwctlError
from owctl.migrate.convert.access import is_member, policy_of
from owctl.migrate.convert.column_map import Options
from owctl.migrate.convert.json_text import PARSED_BYTES, JsonUnusable, clean_json
from owctl.migrate.convert.references import References
from owctl.migrate.convert.row import Context, Row
from owctl.migrate.convert.values import Raw, clean_text, nothing
from owctl.migrate.report.rejects import Rejected
from owctl.migrate.source.database import Source, Unreadable

# -- Policies, and the tables whose rows the new backend shows to other people than the old one.


def settle_access(table: str) -> Callable[[Row, Context], None]:
    """Return the rule that writes who may read a row of the table."""

    def settle(row: Row, context: Context) -> None:
        if "access_control" not in row.values:
            return
        references = context.references
        said = row.text("access_control")
        policy, note = policy_of(table, row.raw, said, references.access)
        if note is not None:
            row.note("access_control", note)
        if policy.public:
            row.values["access_control"] = nothing(table, "access_control")
        elif note is not None or said is None:
            row.values["access_control"] = policy.text()
        if not policy.public and not policy.groups().isdisjoint(references.lost_groups):
            row.note("access_control", "access-group-lost")

    return settle


def settle_prompt(row: Row, context: Context) -> None:
    """Give a prompt's command its slash; reject one that is not for everybody, unless it may be."""
    command = row.text("command")
    if command and not command.startswith(b"/"):
        row.values["command"] = b"/" + command
        row.note("command", "slash-added")
    said, access = row.text("access_control"), context.references.access
    if policy_of("prompt", row.raw, said, access)[0].public:
        return
    if not context.options.prompts_become_public:
        raise Rejected(
            "prompt-not-public",
            "not for everybody; the new backend hands every prompt to every account",
        )
    row.note("command", "prompt-becomes-public")


def prompts_not_public(
    source: Source, options: Options, references: References
) -> list[dict[str, Any]]:
    """Return the prompts of the source that are not for everybody, with what becomes of them."""
    there = source.columns.get("prompt", ())
    columns: list[str] = [n for n in ("id", "command", "access_control") if n in there]
    found = []
    for row in source.rows("prompt", columns) if "command" in there else ():
        if isinstance(row, Unreadable):
            continue
        raw: dict[str, Raw] = dict(zip(columns, row[1], strict=True))
        try:
            said = clean_json(raw.get("access_control"))[0]
        except (JsonUnusable, RecursionError):
            said = b"{}"
        if not policy_of("prompt", raw, said, references.access)[0].public:
            command = (clean_text(raw["command"])[0] or b"").decode()
            found.append({"command": command, "migrated": options.prompts_become_public})
    return found


def refuse_inactive_member(row: Row, _context: Context) -> None:
    """Reject who is no longer in a channel: the new backend knows only members."""
    if not is_member(row.raw):
        raise Rejected("left-channel", "no longer a member of the channel")


# -- Shared chats: the old backend showed a snapshot, the new one shows the chat itself.
# A link may survive only where both are the same; otherwise what was written after sharing would
# become public. The snapshots themselves, rows of a user ``shared-<chat id>``, have no place.


SNAPSHOT_OWNER = b"shared-"


def settle_share_link(row: Row, context: Context) -> None:
    """Set ``share_id`` to NULL where the link would show more than it did, and note it."""
    share_id = row.text("share_id")
    if share_id is None:
        return
    if share_id == b"":
        row.values["share_id"] = None
        return
    if not context.references.access.shared_with_everybody(share_id, row.text("id") or b""):
        row.values["share_id"] = None
        row.note("share_id", "share-restricted")
        return
    if not context.options.keep_share_links:
        snapshot = _snapshot(context, share_id)
        if not snapshot:
            row.values["share_id"] = None
            row.note("share_id", "share-without-snapshot")
            return
        if not _same(snapshot, (row.raw.get("title"), row.raw.get("chat"))):
            row.values["share_id"] = None
            row.note("share_id", "share-differs")
            return
    if not context.first("share_id", share_id):
        row.values["share_id"] = None
        row.note("share_id", "duplicate-to-null")


def _snapshot(context: Context, share_id: bytes) -> tuple[Raw, ...] | None:
    queries = ["SELECT title, chat FROM chat WHERE id = ? AND substr(user_id, 1, 7) = 'shared-'"]
    if {"id", "title", "chat"} <= set(context.source.columns.get("shared_chat", ())):
        queries.append("SELECT title, chat FROM shared_chat WHERE id = ?")
    for query in queries:
        try:
            rows = context.source.query(query, (share_id.decode(),))
        except OwctlError:  # on a damaged page
            continue
        if rows:
            return rows[0]
    return None


def _same(snapshot: tuple[Raw, ...], chat: tuple[Raw, ...]) -> bool:
    if snapshot == chat:
        return True
    if snapshot[0] != chat[0]:
        return False
    try:
        left, right = (clean_json(content)[0] for content in (snapshot[1], chat[1]))
        if left is None or right is None or max(len(left), len(right)) > PARSED_BYTES:
            return left == right
        return bool(json.loads(left) == json.loads(right))
    except (JsonUnusable, RecursionError, ValueError):
        return False


def refuse_snapshot(row: Row, _context: Context) -> None:
    """Reject the snapshot of a shared chat before it is taken for an orphan."""
    owner = row.raw.get("user_id")
    if isinstance(owner, bytes) and owner.startswith(SNAPSHOT_OWNER):
        raise Rejected(
            "shared-snapshot", "snapshot of a shared chat; the new backend shows the chat itself"
        )
