"""Shared chats: the old backend showed a snapshot, the new one shows the chat itself.

A link may survive only where both are the same; otherwise what was written after sharing would
become public. The snapshots themselves, rows of a user ``shared-<chat id>``, have no place.
"""

import json

from owctl.errors import OwctlError
from owctl.migrate.json_repair import JsonUnusable
from owctl.migrate.json_text import PARSED_BYTES, clean_json
from owctl.migrate.row import Context, Row
from owctl.migrate.values import Raw

SNAPSHOT_OWNER = b"shared-"


def settle_share_link(row: Row, context: Context) -> None:
    """Set ``share_id`` to NULL where the link would show more than it did, and note it."""
    share_id = row.text("share_id")
    if share_id is None:
        return
    if share_id == b"":
        row.values["share_id"] = None
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
    try:
        rows = context.source.query(
            "SELECT title, chat FROM chat WHERE id = ? AND substr(user_id, 1, 7) = 'shared-'",
            (share_id.decode(),),
        )
    except OwctlError:  # on a damaged page
        return None
    return rows[0] if rows else None


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
