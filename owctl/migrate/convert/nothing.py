"""How the new backend reads a JSON column that says nothing: as SQL NULL or as JSON's null."""

from owctl.migrate.convert.column_map import Value

# The reasons, each seen at the real backend.
_NEVER_NULL = "read as never SQL NULL: one such row fails the list of everybody"
_NEVER_NULL_EARLIER = "the same, in earlier states of the backend"
_POLICY = "read as text and parsed: SQL NULL is public, JSON's null an object without permissions"
_OPTIONAL = "read as one that may be SQL NULL"

_JSON_NULL: Value = b"null"
_SQL_NULL: Value = None

# What stands for nothing in each JSON column of the target, and why. Where the map of columns has a
# default, that stands for SQL NULL of the source instead; JSON's null stays as it is.
NOTHING: dict[tuple[str, str], tuple[Value, str]] = {
    ("memory", "meta"): (_JSON_NULL, _NEVER_NULL),
    ("model", "params"): (_JSON_NULL, _NEVER_NULL),
    ("model", "meta"): (_JSON_NULL, _NEVER_NULL),
    ("model", "access_control"): (_JSON_NULL, _NEVER_NULL),
    ("chat", "meta"): (_JSON_NULL, _NEVER_NULL),
    ("knowledge", "data"): (_JSON_NULL, _NEVER_NULL_EARLIER),
    ("knowledge", "meta"): (_JSON_NULL, _NEVER_NULL_EARLIER),
    ("knowledge", "access_control"): (_JSON_NULL, _NEVER_NULL_EARLIER),
    **{
        (table, "access_control"): (_SQL_NULL, _POLICY)
        for table in ("channel", "file", "note", "prompt", "tool")
    },
    **{
        (table, column): (_SQL_NULL, _OPTIONAL)
        for table, columns in {
            "user": ("info", "settings"),
            "folder": ("data", "meta"),
            "chat": ("chat",),
            "channel": ("data", "meta"),
            "message": ("data", "meta"),
            "prompt": ("meta",),
            "tool": ("specs", "meta", "valves"),
            "function": ("meta", "valves"),
            "file": ("data", "meta"),
            "note": ("data", "meta"),
            "group": ("data", "meta", "permissions", "user_ids"),
            "tag": ("data",),
            "feedback": ("data", "meta", "snapshot"),
            "config": ("data",),
        }.items()
        for column in columns
    },
}


def nothing(table: str, column: str) -> Value:
    """Return what the column gets where the source says nothing: NULL, or the text ``null``."""
    return NOTHING.get((table, column), (_SQL_NULL, ""))[0]


def is_json_null(raw: object) -> bool:
    """Tell whether a value of the source is JSON's null itself, and not merely empty."""
    return isinstance(raw, bytes) and len(raw) < 64 and raw.strip(b" \t\r\n\0") == b"null"
