"""The map of columns: which of the source's goes where, and what both sides are called."""

from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

# -- What the parts of a migration hand to each other: rows, rejects, notes, options.


# A value of a converted row. Text, JSON, dates and timestamps are UTF-8 bytes as PostgreSQL reads
# them: nothing is decoded and encoded again on its way, and a row of 200 MB stays one of 200 MB.
Value = bytes | int | bool | None

# How many rows a note names as examples.
EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """A column of the target, as ``information_schema.columns`` says.

    ``data_type`` is its word there ("character varying", "jsonb", "bigint" …), ``max_length`` is
    in characters, None where there is no limit.
    """

    data_type: str
    max_length: int | None = None
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class TableMap:
    """A table of the target that is filled from a table of the source; ``columns`` in COPY order."""

    target: str
    columns: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Converted:
    """One source row as the target takes it: ``values`` in the order of the map's columns.

    bytes are UTF-8 without NUL: text, valid JSON for jsonb, ``YYYY-MM-DD`` for date,
    ``YYYY-MM-DD HH:MM:SS[.ffffff]`` for timestamp. int is for bigint and integer, bool for
    boolean, None is NULL. ``rowid`` is that of the source row.
    """

    values: tuple[Value, ...]
    rowid: int = 0


@dataclass(frozen=True, slots=True)
class Reject:
    """One source row that has no row of its own in the target, and why.

    ``reason`` is a short code ("orphan-user"), ``detail`` a sentence. ``key`` names the row,
    ``row`` holds its values for the report: secrets left out, long values shortened. A reason
    that begins with ``merged-`` means that nothing is lost: the row lives on in another one.
    """

    source_table: str
    key: Mapping[str, object]
    reason: str
    detail: str
    row: Mapping[str, object]

    @property
    def merged(self) -> bool:
        """Tell whether the row's content went into another row of the target."""
        return self.reason.startswith("merged-")


class Notes:
    """Counts what was changed on the way, by target table, column and kind of change."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._examples: dict[tuple[str, str, str], list[str]] = {}

    def add(
        self, table: str, column: str, kind: str, count: int = 1, *, key: str | None = None
    ) -> None:
        """Count a change; ``kind`` is a short code such as ``nul-removed``, ``key`` names the row."""
        where = (table, column, kind)
        self._counts[where] += count
        if key is not None:
            examples = self._examples.setdefault(where, [])
            if len(examples) < EXAMPLES:
                examples.append(key)

    def items(self) -> list[tuple[str, str, str, int]]:
        """Return (table, column, kind, count), sorted."""
        return [(*where, count) for where, count in sorted(self._counts.items())]

    def examples(self, table: str, column: str, kind: str) -> list[str]:
        """Return the keys of the first rows that were changed so."""
        return list(self._examples.get((table, column, kind), ()))

    def __iter__(self) -> Iterator[tuple[str, str, str, int]]:
        return iter(self.items())


@dataclass(frozen=True, slots=True)
class Options:
    """How to convert.

    ``target_columns``: per table of the target its columns. ``orphans``: the id of the user who
    gets rows whose user is missing; None rejects them. ``on_duplicate_email``: ``rename`` gives
    all but one account an address of their own. ``on_overflow``: ``widen`` lets a string that is
    longer than its column through (the caller makes the column text; see ``mapping.overflows``).
    ``keep_share_links``: a share link goes to the live chat even where its snapshot differs.
    ``prompts_become_public``: migrate prompts that are not for everybody, though they will be.
    ``allow_unknown``: accept a source newer than known. ``upload_dir``: where the new backend keeps
    uploads, ``upload_names`` the captured ones, None where that is not known. ``passwords``: the new hash by user id; None keeps the old ones.
    """

    target_columns: Mapping[str, Mapping[str, ColumnInfo]] = field(repr=False)
    orphans: str | None = None
    on_duplicate_email: Literal["stop", "rename"] = "stop"
    on_overflow: Literal["reject", "widen"] = "reject"
    keep_share_links: bool = False
    prompts_become_public: bool = False
    allow_unknown: bool = False
    upload_dir: str = "/app/data/uploads"
    upload_names: frozenset[str] | None = field(default=None, repr=False)
    passwords: Mapping[str, str] | None = field(default=None, repr=False)


# -- The column map: for each table of the target, where each column's value comes from, by what rule.
# A column has the name of its source unless ``source`` says otherwise. Lengths and NOT NULL are those
# of the target as found, not written here. Columns that only some versions of the target have are
# left out where it does not have them; source columns without a target are listed in the report.


Kind = Literal[
    "text", "user", "json", "lenient-json", "boolean", "integer", "seconds", "nanoseconds", "date",
    "timestamp", "constant",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A target column; ``default`` replaces NULL, ``source`` is the column read ("" for none).

    ``later`` is what newer versions of the old backend call that column.
    A ``json`` column that is no JSON rejects its row; a ``lenient-json`` one becomes NULL and is
    noted, because the row is worth more than it.
    """

    name: str
    kind: Kind = "text"
    default: Value = None
    source: str | None = None
    later: str | None = None

    @property
    def read_from(self) -> str:
        return self.name if self.source is None else self.source

    def found_in(self, columns: Container[str]) -> str:
        """Return what the column is called in a source table with these columns."""
        older = self.read_from
        if self.later is None or older in columns or self.later not in columns:
            return older
        return self.later


def _text(*names: str, default: Value = None) -> tuple[Column, ...]:
    return tuple(Column(name, default=default) for name in names)


def _json(*names: str, default: Value = None) -> tuple[Column, ...]:
    return tuple(Column(name, "json", default) for name in names)


_OBJECT = b"{}"
_USER = Column("user_id", "user")
_META = Column("meta", "lenient-json")
_SECONDS = (Column("created_at", "seconds"), Column("updated_at", "seconds"))
_NANOSECONDS = (Column("created_at", "nanoseconds"), Column("updated_at", "nanoseconds"))
_ACCESS = Column("access_control", "json")

# In an order that satisfies the foreign keys.
COLUMN_MAP: dict[str, tuple[Column, ...]] = {
    "user": (
        *_text("id", "name", "email", "username"),
        Column("role", default=b"pending"),
        Column("profile_image_url", default=b"/user.png"),
        *_text("bio", "gender"),
        Column("date_of_birth", "date"),
        Column("info", "lenient-json"),
        Column("settings", "lenient-json"),
        *_text("api_key", "oauth_sub"),
        Column("last_active_at", "seconds"),
        *_SECONDS,
    ),
    "auth": (
        Column("id", "user"),
        *_text("email", "password"),
        Column("active", "boolean", True),
        Column("created_at", "constant", 0, source=""),  # those of the user
        Column("updated_at", "constant", 0, source=""),
    ),
    "folder": (
        *_text("id"),
        _USER,
        *_text("name", "parent_id"),
        Column("is_expanded", "boolean", False),
        _META,
        *_SECONDS,
        *_json("data"),
    ),
    "chat": (
        *_text("id"),
        _USER,
        *_text("title"),
        *_json("chat", default=_OBJECT),
        *_text("folder_id"),
        Column("archived", "boolean", False),
        Column("pinned", "boolean", False),
        *_text("share_id"),
        Column("meta", "lenient-json", _OBJECT),
        *_SECONDS,
    ),
    "channel": (
        *_text("id"),
        Column("name", default=b""),
        *_text("description"),
        _USER,
        *_json("data"),
        _META,
        _ACCESS,
        *_NANOSECONDS,
        *_text("type"),
    ),
    "channel_member": (
        *_text("id", "channel_id"),
        _USER,
        Column("created_at", "seconds", 0),
    ),
    "message": (
        *_text("id"),
        Column("chat_id", "constant", source=""),
        _USER,
        Column("content", default=b""),
        Column("role", "constant", source=""),
        Column("model", "constant", source=""),
        _META,
        *_NANOSECONDS,
        *_text("channel_id", "reply_to_id", "parent_id"),
        *_json("data"),
    ),
    "message_reaction": (
        *_text("id"),
        _USER,
        *_text("message_id", "name"),
        Column("created_at", "nanoseconds", 0),
    ),
    "model": (
        *_text("id"),
        _USER,
        *_text("base_model_id", "name"),
        *_json("params", default=_OBJECT),
        _META,
        _ACCESS,
        Column("is_active", "boolean", True),
        *_SECONDS,
    ),
    "prompt": (
        *_text("command"),
        _USER,
        Column("title", later="name"),
        *_text("content"),
        _ACCESS,
        Column("meta", "constant", source=""),
        Column("created_at", "seconds", source="timestamp", later="created_at"),
        Column("updated_at", "seconds", source="timestamp", later="updated_at"),
    ),
    "tool": (
        *_text("id"),
        _USER,
        *_text("name", "content"),
        *_json("specs", default=b"[]"),
        _META,
        _ACCESS,
        Column("is_active", "constant", True, source=""),
        *_SECONDS,
        *_json("valves"),
    ),
    "function": (
        *_text("id"),
        _USER,
        *_text("name", "type", "content"),
        _META,
        *_json("valves"),
        Column("is_active", "boolean", True),
        Column("is_global", "boolean", False),
        *_SECONDS,
    ),
    "file": (
        *_text("id"),
        _USER,
        *_text("filename"),
        Column("path", default=b""),
        _META,
        *_SECONDS,
        *_json("data"),
        _ACCESS,
        *_text("hash"),
    ),
    "knowledge": (
        *_text("id"),
        _USER,
        *_text("name", "description"),
        *_json("data"),
        _META,
        _ACCESS,
        *_SECONDS,
    ),
    "memory": (
        *_text("id"),
        _USER,
        *_text("content"),
        _META,
        *_SECONDS,
    ),
    "note": (
        *_text("id"),
        _USER,
        Column("title", default=b""),
        *_json("data"),
        _META,
        _ACCESS,
        *_NANOSECONDS,
    ),
    "group": (
        *_text("id"),
        _USER,
        Column("name", default=b""),
        Column("description", default=b""),  # the new backend reads it as never NULL
        *_json("data", "permissions", "user_ids"),
        _META,
        *_SECONDS,
    ),
    "tag": (
        *_text("id", "name"),
        _USER,
        Column("data", "lenient-json", source="meta"),
        Column("created_at", "constant", 0, source=""),
        Column("updated_at", "constant", 0, source=""),
    ),
    "feedback": (
        *_text("id"),
        _USER,
        Column("version", "integer", 0),
        Column("type", default=b""),
        *_json("data"),
        _META,
        *_json("snapshot"),
        *_SECONDS,
    ),
    "config": (
        Column("id", "integer"),
        *_json("data", default=_OBJECT),
        Column("version", "integer", 0),
        Column("created_at", "timestamp"),
        Column("updated_at", "timestamp"),
    ),
}
