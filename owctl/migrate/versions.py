"""Which version of the old backend wrote a database: by its alembic head and its columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from owctl.errors import OwctlError

# Alembic heads of the old backend, in order. The first is that of 0.6.32, the last that of 0.6.43,
# which is also that of all of 0.7;
# those between belong to the releases between them, and are told apart by their columns alone.
HEAD_0_6_32 = "a5c220713937"
HEAD_0_6_43 = "c440947495f3"
_KNOWN_HEADS = (
    HEAD_0_6_32,
    "37f288994c47",  # group_member
    "2f1211949ecc",  # message.is_pinned, channel_member.*
    "b10670c03dd5",  # user.oauth, api_key
    "90ef40d4714e",  # channel.*, channel_webhook
    "3e0e00844bb0",  # knowledge_file
    "6283dc0e4d8d",  # channel_file
    "81cc2ce44d79",  # channel_file.message_id, knowledge.data
    HEAD_0_6_43,  # chat_file
)
_OLDER_HEADS = frozenset(
    [
        "7e5b5dc7342b",
        "ca81bd47c050",
        "c0fbf31ca0db",
        "6a39f3d8e55c",
        "242a2047eae0",
        "1af9b942657b",
        "3ab32c4b8f59",
        "c69f45358db4",
        "c29facfe716b",
        "af906e964978",
        "4ace53fd72c8",
        "922e7a387820",
        "57c599a3cb57",
        "7826ab40b532",
        "3781e22d8b01",
        "9f0c9cd09105",
        "d31026856c01",
        "018012973d35",
        "3af16a1c9fb6",
        "38d63c18f30f",
    ]
)
# What a database has at 0.6.32 and not before it; without them it is older, whatever it says.
_REQUIRED = {
    "user": ("id", "email", "username", "date_of_birth"),
    "auth": ("id", "email", "password"),
    "chat": ("id", "user_id", "chat", "meta", "folder_id"),
    "message": ("id", "reply_to_id"),
    "note": ("id", "title"),
    "oauth_session": ("id",),
}
# Without these there are no accounts, and nothing belongs to anybody.
_INDISPENSABLE = frozenset(("user.id", "user.email"))
_FOREMOST = ("user", "auth", "chat")


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """``name`` for people ("0.6.32", "0.6.33 to 0.6.42"), ``head`` of alembic, how it is known."""

    name: str
    head: str | None
    state: Literal["known", "incomplete", "older", "newer", "foreign"]
    missing: tuple[str, ...] = ()


def detect_version(columns: Mapping[str, tuple[str, ...]], heads: tuple[str, ...]) -> SourceVersion:
    """Tell the version from the columns by table and the rows of ``alembic_version``."""
    head = heads[0] if len(heads) == 1 else None
    if not any(table in columns for table in _FOREMOST):
        return SourceVersion("no Open WebUI database", head, "foreign", _FOREMOST)
    missing = tuple(
        f"{table}.{column}"
        for table, required in _REQUIRED.items()
        for column in required
        if column not in columns.get(table, ())
    )
    if head in _OLDER_HEADS or (missing and head is None and len(heads) == 0):
        return SourceVersion("older than 0.6.32", head, "older", missing)
    if head not in _KNOWN_HEADS:
        shown = ", ".join(heads) or "no alembic head"
        return SourceVersion(f"newer than 0.7 ({shown})", head, "newer", missing)
    name = {HEAD_0_6_32: "0.6.32", HEAD_0_6_43: "0.6.43"}.get(head, "0.6.33 to 0.6.42")
    return SourceVersion(name, head, "incomplete" if missing else "known", missing)


def require_known(version: SourceVersion, *, allow_unknown: bool) -> None:
    """Raise OwctlError for a version that this owctl does not know how to read."""
    if version.state == "foreign":
        raise OwctlError(
            "the file is a SQLite database, but not one of Open WebUI: it has no table "
            + ", ".join(version.missing),
            hint="name the old backend's webui.db",
        )
    if version.state == "older":
        raise OwctlError(
            f"the database is {version.name}"
            + (f" (alembic head {version.head})" if version.head else " (no alembic head)"),
            hint="start Open WebUI 0.6.32 (Python) once on it: it brings the tables up to date",
            details=[f"missing: {column}" for column in version.missing],
        )
    if version.state == "incomplete" and (
        not allow_unknown or not _INDISPENSABLE.isdisjoint(version.missing)
    ):
        raise OwctlError(
            f"the database says that it is {version.name}, but parts of it are missing",
            hint="a whole copy of the old backend's webui.db, or --allow-unknown to take what is there",
            details=[f"missing: {column}" for column in version.missing],
        )
    if version.state == "newer" and (not allow_unknown or version.missing):
        raise OwctlError(
            f"the database is {version.name}; owctl knows 0.6.32 to 0.7",
            hint="a newer owctl, or --allow-unknown to take what is known and report the rest",
            details=[f"missing: {column}" for column in version.missing],
        )
