"""Columns of the target that later versions of the old backend keep in tables of their own.

``group.user_ids`` ← ``group_member``, ``knowledge.data.file_ids`` ← ``knowledge_file``,
``user.api_key`` ← ``api_key``. Each row of these tables ends in a verdict: merged, or why not.
"""

import time
from collections.abc import Container, Iterator
from dataclasses import dataclass

from owctl.migrate.source import Source, Unreadable
from owctl.migrate.text import characters, clean_text
from owctl.migrate.values import Raw, integer, seconds


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a row of a table that is merged into another."""

    rowid: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Merged:
    """Values by the id of the row that they belong to, and a verdict for each row read."""

    values: dict[bytes, list[bytes]]
    verdicts: list[Verdict]


def group_members(source: Source, groups: Container[bytes], users: Container[bytes]) -> Merged:
    """Return user ids by group, in the order in which they joined."""
    return _collected(
        source, "group_member", ("group_id", "user_id"), (groups, users), ("group", "user"),
        ("merged-group", "in user_ids of its group"),
    )  # fmt: skip


def knowledge_files(source: Source, knowledge: Container[bytes], files: Container[bytes]) -> Merged:
    """Return file ids by knowledge, in the order in which they were added."""
    return _collected(
        source, "knowledge_file", ("knowledge_id", "file_id"), (knowledge, files),
        ("knowledge", "file"), ("merged-knowledge", "in data.file_ids of its knowledge"),
    )  # fmt: skip


def api_keys(source: Source, users: Container[bytes], max_length: int | None) -> Merged:
    """Return the newest key that has not expired, by user: the target has room for one.

    ``max_length`` is what the target's column takes, in characters.
    """
    now = int(time.time())
    newest: dict[bytes, tuple[int, int, bytes]] = {}
    verdicts = []
    rows = []
    for rowid, (user_id, key, expires, created) in _readable(
        source, "api_key", ("user_id", "key", "expires_at", "created_at")
    ):
        owner, value = clean_text(user_id)[0], clean_text(key)[0]
        expiry = seconds(expires)[0]
        if owner is None or owner not in users:
            verdicts.append(Verdict(rowid, "orphan-user", "its user is not in the new database"))
        elif not value:
            verdicts.append(Verdict(rowid, "empty-api-key", "the key is empty"))
        elif max_length is not None and characters(value) > max_length:
            verdicts.append(Verdict(rowid, "too-long", f"the key is longer than {max_length}"))
        elif expiry is not None and expiry <= now:
            verdicts.append(Verdict(rowid, "expired-api-key", "expired; it would be valid again"))
        else:
            rows.append((rowid, owner, value, integer(created)[0] or 0))
    for rowid, owner, value, created_at in rows:
        newest[owner] = max(
            newest.get(owner, (created_at, rowid, value)), (created_at, rowid, value)
        )
    for rowid, owner, _value, _created in rows:
        verdicts.append(
            Verdict(rowid, "merged-user", "api_key of its user")
            if newest[owner][1] == rowid
            else Verdict(
                rowid, "superseded-api-key", "its user has a newer key; there is room for one"
            )
        )
    return Merged({owner: [value] for owner, (_, _, value) in newest.items()}, verdicts)


def _collected(
    source: Source,
    table: str,
    columns: tuple[str, str],
    existing: tuple[Container[bytes], Container[bytes]],
    names: tuple[str, str],
    merged: tuple[str, str],
) -> Merged:
    values: dict[bytes, list[tuple[int, int, bytes]]] = {}
    verdicts = []
    for rowid, (owner_raw, member_raw, created) in _readable(
        source, table, (*columns, "created_at")
    ):
        owner, member = clean_text(owner_raw)[0] or b"", clean_text(member_raw)[0] or b""
        missing = [
            name
            for name, value, known in zip(names, (owner, member), existing, strict=True)
            if value not in known
        ]
        if missing:
            detail = f"its {missing[0]} is not in the new database"
            verdicts.append(Verdict(rowid, f"orphan-{missing[0]}", detail))
            continue
        values.setdefault(owner, []).append((integer(created)[0] or 0, rowid, member))
        verdicts.append(Verdict(rowid, *merged))
    ordered = {
        owner: list(dict.fromkeys(member for _, _, member in sorted(members)))
        for owner, members in values.items()
    }
    return Merged(ordered, verdicts)


def _readable(
    source: Source, table: str, columns: tuple[str, ...]
) -> Iterator[tuple[int, tuple[Raw, ...]]]:
    """Yield the rows that can be read; the others are reported where the table is."""
    if table not in source.columns:
        return
    for row in source.rows(table, columns):
        if not isinstance(row, Unreadable):
            yield row
