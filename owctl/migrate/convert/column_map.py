"""The column map: for each table of the target, where each column's value comes from, by what rule.

A column has the name of its source unless ``source`` says otherwise. Lengths and NOT NULL are those
of the target as found, not written here. Columns that only some versions of the target have are
left out where it does not have them; source columns without a target are listed in the report.
"""

from collections.abc import Container
from dataclasses import dataclass
from typing import Literal

from owctl.migrate.convert.model import Value

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
        Column("meta", "constant", source=""),
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
