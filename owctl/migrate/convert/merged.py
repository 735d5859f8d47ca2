"""Tables of the old backend that are merged into columns of others: members, files of knowledge, API keys."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from owctl.migrate.convert.values import Raw, characters, clean_text, integer, seconds
from owctl.migrate.source.database import Source, Unreadable

if TYPE_CHECKING:
    from owctl.migrate.convert.references import References

# -- Columns of the target that later versions of the old backend keep in tables of their own.
# ``group.user_ids`` ← ``group_member``, ``knowledge.data.file_ids`` ← ``knowledge_file``,
# ``user.api_key`` ← ``api_key``. Each row of these tables ends in a verdict: merged, or why not.


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


def group_members(source: Source, references: "References") -> Merged:
    """Return user ids by group, in the order in which they joined."""
    return _collected(
        source, references, "group_member", ("group_id", "user_id"), ("group", "user"),
        ("merged-group", "in user_ids of its group"),
    )  # fmt: skip


def knowledge_files(source: Source, references: "References") -> Merged:
    """Return file ids by knowledge, in the order in which they were added."""
    return _collected(
        source, references, "knowledge_file", ("knowledge_id", "file_id"), ("knowledge", "file"),
        ("merged-knowledge", "in data.file_ids of its knowledge"),
    )  # fmt: skip


def api_keys(source: Source, references: "References", max_length: int | None) -> Merged:
    """Return the newest key that has not expired, by user: the target has room for one.

    ``max_length`` is what the target's column takes, in characters.
    """
    now = int(time.time())
    newest: dict[bytes, tuple[int, int, bytes]] = {}
    verdicts = []
    rows = []
    for rowid, (user_id, key, expires, created) in readable(
        source, "api_key", ("user_id", "key", "expires_at", "created_at")
    ):
        owner, value = clean_text(user_id)[0], clean_text(key)[0]
        expiry = seconds(expires)[0]
        if owner is None or owner not in references.ids("user"):
            verdicts.append(Verdict(rowid, *references.without_user(owner)))
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
    references: "References",
    table: str,
    columns: tuple[str, str],
    names: tuple[str, str],
    merged: tuple[str, str],
) -> Merged:
    values: dict[bytes, list[tuple[int, int, bytes]]] = {}
    verdicts = []
    for rowid, (owner_raw, member_raw, created) in readable(
        source, table, (*columns, "created_at")
    ):
        owner, member = clean_text(owner_raw)[0] or b"", clean_text(member_raw)[0] or b""
        pairs = zip(names, (owner, member), strict=True)
        why = next(filter(None, (references.missing(*pair) for pair in pairs)), None)
        if why is not None:
            verdicts.append(Verdict(rowid, *why))
            continue
        values.setdefault(owner, []).append((integer(created)[0] or 0, rowid, member))
        verdicts.append(Verdict(rowid, *merged))
    ordered = {
        owner: list(dict.fromkeys(member for _, _, member in sorted(members)))
        for owner, members in values.items()
    }
    return Merged(ordered, verdicts)


def readable(
    source: Source, table: str, columns: tuple[str, ...]
) -> Iterator[tuple[int, tuple[Raw, ...]]]:
    """Yield the rows that can be read; the others are reported where the table is."""
    if table not in source.columns:
        return
    for row in source.rows(table, columns):
        if not isinstance(row, Unreadable):
            yield row
