"""Texts that are longer than their column: cut or emptied where they only describe."""

from owctl.migrate.convert.values import characters

# What people read and nothing refers to or decides by. A row is worth more than the end of its name.
_CUT = {
    "user": ("name", "username", "gender"),
    "channel": ("name",),
    "file": ("filename",),
    "folder": ("name",),
    "function": ("name",),
    "group": ("name",),
    "knowledge": ("name",),
    "model": ("name",),
    "tag": ("name",),
    "tool": ("name",),
}
# What a part of would be wrong: a key, a link, a checksum. The row does without.
_EMPTIED = {"user": ("api_key",), "chat": ("share_id",), "file": ("hash",)}
_ELLIPSIS = "…"
_LONGEST_ENDING = 16
# These belong to the character before them, or join it to the next.
_JOINING = "\u200d\ufe0e\ufe0f"


def fitted(
    table: str, column: str, text: bytes, max_length: int | None
) -> tuple[bytes | None, str | None]:
    """Return the text as the column takes it, and the code of what was changed, if it was.

    ``max_length`` is in characters. A text that identifies or decides something stays as it is, too
    long or not.
    """
    if max_length is None or len(text) <= max_length or characters(text) <= max_length:
        return text, None
    if column in _EMPTIED.get(table, ()):
        return None, "too-long-to-null"
    if column not in _CUT.get(table, ()):
        return text, None
    ending = _ending(text.decode()) if column == "filename" else ""
    kept = text.decode()[: max_length - len(_ELLIPSIS) - len(ending)].rstrip(_JOINING)
    return (kept + _ELLIPSIS + ending).encode(), "text-cut"


def _ending(name: str) -> str:
    """Return what follows a file's name and tells its kind; a program is chosen by it."""
    _, dot, ending = name.rpartition(".")
    return dot + ending if dot and ending.isalnum() and len(ending) < _LONGEST_ENDING else ""
