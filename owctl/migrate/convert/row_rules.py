"""Rules that look at a whole row: what it refers to, folders as a tree, what is shared."""

import json
import posixpath
from collections.abc import Callable, Mapping

from owctl.migrate.convert import access
from owctl.migrate.convert.json_text import JsonUnusable, clean_json, parsed
from owctl.migrate.convert.row import Context, Row
from owctl.migrate.convert.sharing import (
    refuse_inactive_member,
    refuse_snapshot,
    settle_access,
    settle_prompt,
    settle_share_link,
)
from owctl.migrate.convert.values import characters, is_json_null, upload_name
from owctl.migrate.report.rejects import Rejected

# -- Folders refer to folders: parents that are missing, of another user, or in a circle.


def settled_parent(
    folder: bytes, parent: bytes | None, folders: Mapping[bytes, tuple[bytes, bytes | None]]
) -> tuple[bytes | None, str | None]:
    """Return the parent that the folder gets, and the code of why it is not the one it had.

    ``folders``: (user, parent) by id of every folder that the target gets. A circle is cut at the
    folder with the smallest id in it, so that the result does not depend on any order.
    """
    if parent is None or parent == b"":
        return None, None
    if parent not in folders:
        return None, "parent-missing"
    if folder in folders and folders[parent][0] != folders[folder][0]:
        return None, "parent-of-other-user"
    circle = _circle_through(folder, folders)
    if circle and folder == min(circle):
        return None, "circle-cut"
    return parent, None


def _circle_through(
    folder: bytes, folders: Mapping[bytes, tuple[bytes, bytes | None]]
) -> set[bytes]:
    """Return the folders of the circle that the folder is part of; empty if it is in none."""
    met: set[bytes] = set()
    at: bytes | None = folder
    while at is not None and at not in met and at in folders:
        met.add(at)
        at = folders[at][1]
    return met if at == folder else set()


# -- What single tables ask for beyond the rules of their columns. Each may raise Rejected.


ROLES = frozenset((b"admin", b"user", b"pending"))


def _user(row: Row, context: Context) -> None:
    email = row.text("email")
    if row.values["name"] is None and email is not None:
        row.values["name"] = email
        row.note("name", "name-from-email")
    user_id = row.text("id") or b""
    if email is not None:
        renamed = context.references.renamed_emails.get(user_id.decode())
        _set_email(row, email, renamed)
        if not context.first("email", row.text("email") or b""):
            raise Rejected("duplicate-email", "another account has this address")
    _settle_role(row, context)
    _take_oauth(row)
    for column in ("api_key", "oauth_sub"):
        _unique_or_null(row, context, column)


def _settle_role(row: Row, context: Context) -> None:
    """Note a role that nobody knows; one that the column does not hold may do nothing yet."""
    role = row.text("role") or b""
    if role in ROLES:
        return
    limit = context.options.target_columns["user"]["role"].max_length
    if limit is not None and characters(role) > limit and context.options.on_overflow == "reject":
        row.values["role"] = b"pending"
        row.note("role", "role-too-long")
    else:
        row.note("role", "role-unknown")


def _set_email(row: Row, email: bytes, renamed: str | None) -> None:
    lower = email.decode().lower().encode()
    if renamed is not None:
        row.note("email", "duplicate-renamed")
        lower = renamed.encode()
    elif lower != email:
        row.note("email", "lower-cased")
    row.values["email"] = lower


def _take_oauth(row: Row) -> None:
    """Fill ``oauth_sub`` (provider@sub) from the ``oauth`` object of later versions."""
    said = row.raw.get("oauth")
    if said is None or is_json_null(said) or said in (b"", b"{}") or row.text("oauth_sub"):
        return
    try:
        providers = parsed(clean_json(said)[0])
    except (JsonUnusable, RecursionError):
        providers = None
    names = list(providers) if isinstance(providers, dict) else []
    for name in names:
        account = providers.get(name) if isinstance(providers, dict) else None
        sub = account.get("sub") if isinstance(account, dict) else None
        if sub:
            row.values["oauth_sub"] = f"{name}@{sub}".replace("\0", "").encode("utf-8", "replace")
            if len(names) > 1:
                row.note("oauth_sub", "only-first-provider")
            return
    row.note("oauth_sub", "oauth-unreadable")


def _unique_or_null(row: Row, context: Context, column: str) -> None:
    value = row.text(column)
    if value == b"":
        row.values[column] = None
    elif value is not None and not context.first(column, value):
        row.values[column] = None
        row.note(column, "duplicate-to-null")


def _auth(row: Row, context: Context) -> None:
    user_id = row.text("id") or b""
    address, created, updated = context.references.users.get(user_id, (None, 0, 0))
    email = row.text("email")
    lower = email.decode().lower().encode() if email is not None else address
    renamed = context.references.renamed_emails.get(user_id.decode())
    row.values["email"] = lower
    if renamed is not None and address is not None:
        row.values["email"] = address
        row.note("email", "duplicate-renamed")
    elif lower != email:
        row.note("email", "lower-cased" if email is not None else "email-from-user")
    if not context.first("email", row.text("email") or b""):
        if address is None or not context.first("email", address):
            raise Rejected("duplicate-email", "another account signs in with this address")
        row.values["email"] = address
        row.note("email", "email-from-user")
    row.values["created_at"], row.values["updated_at"] = created, updated
    passwords = context.options.passwords
    if passwords is not None and user_id.decode() in passwords:
        row.values["password"] = passwords[user_id.decode()].encode()
        row.note("password", "new-password")


def _folder(row: Row, context: Context) -> None:
    folder = row.text("id") or b""
    parent, why = settled_parent(folder, row.text("parent_id"), context.references.folders)
    row.values["parent_id"] = parent
    if why is not None:
        row.note("parent_id", why)


def _chat(row: Row, context: Context) -> None:
    settle_share_link(row, context)
    folder = row.text("folder_id")
    if folder is not None and context.references.folder_owners.get(folder) != row.text("user_id"):
        row.values["folder_id"] = None
        row.note("folder_id", "folder-missing")


def refuse_channel_message(_row: Row, context: Context) -> None:
    """Reject messages where the target's ``message`` wants a chat and a role."""
    columns = context.options.target_columns["message"]
    demanded = [
        name for name in ("chat_id", "role") if name in columns and not columns[name].nullable
    ]
    if demanded:
        raise Rejected(
            "target-too-old",
            f"this version of the new backend demands {' and '.join(demanded)} of a message, which "
            "messages in channels do not have; its migration 009 drops that",
        )


def _channel(row: Row, _context: Context) -> None:
    """Reject a channel that the old backend has deleted, and keeps hidden."""
    if row.raw.get("deleted_at") is not None:
        raise Rejected("deleted-channel", "deleted in the old backend; the new one would show it")
    if row.raw.get("archived_at") is not None:
        row.note("id", "no-longer-archived")


def _message(row: Row, context: Context) -> None:
    """Reject a message whose channel the target will not have; none of them would show it."""
    channel = row.text("channel_id")
    why = context.references.missing("channel", channel) if channel is not None else None
    if why is not None:
        raise Rejected(*why)


def _replies(row: Row, context: Context) -> None:
    """Put a reply into the channel itself if what it answers stays behind.

    What answers a message that the old backend has deleted, it did not show either: it stays so.
    """
    for column in ("parent_id", "reply_to_id"):
        answered = row.text(column)
        if answered is None or answered in context.references.ids("message"):
            continue
        if answered in context.references.messages:
            row.values[column] = None
            row.note(column, "reply-to-rejected")
        else:
            row.note(column, "reply-to-deleted")


def _tag(row: Row, context: Context) -> None:
    """Make one tag of those that several accounts have under one id."""
    key, name = row.text("id") or b"", row.text("name") or b""
    known = not context.first("tag", key)
    if not context.first("tag by name", key + b"\0" + name) and known:
        raise Rejected("merged-tag", "the same tag of another account stands for both")


def _reference(column: str, table: str) -> Callable[[Row, Context], None]:
    def check(row: Row, context: Context) -> None:
        value = row.text(column)
        if value is None or value not in context.references.ids(table):
            raise Rejected(f"orphan-{table}", f"its {table} is not in the new database")

    return check


def _file(row: Row, context: Context) -> None:
    path = (row.text("path") or b"").decode()
    name = upload_name(path, context.options.upload_names)
    if name is None:
        if path:
            row.note("path", "path-kept")
        return
    rewritten = posixpath.join(context.options.upload_dir, name)
    if rewritten != path:
        row.values["path"] = rewritten.encode()
        row.note("path", "path-rewritten")


def _knowledge(row: Row, context: Context) -> None:
    if "knowledge_file" not in context.source.columns:
        return
    files = context.references.knowledge_files.values.get(row.text("id") or b"")
    if not files:
        return
    names = json.dumps([file.decode() for file in files], ensure_ascii=False)
    row.values["data"] = _with_key(row.text("data"), "file_ids", names).encode()
    row.note("data", "file-ids-merged")


def _with_key(json_object: bytes | None, key: str, value: str) -> str:
    """Return the object's text with a key more; of two with the same name the last counts."""
    text = (json_object or b"{}").decode().strip()
    if not text.startswith("{"):
        text = "{}"
    rest = text[:-1].rstrip()
    return f'{rest}{"" if rest == "{" else ", "}"{key}": {value}}}'


def _group(row: Row, context: Context) -> None:
    if "group_member" in context.source.columns:
        members = context.references.members.values.get(row.text("id") or b"", [])
        names = [member.decode() for member in members]
        row.values["user_ids"] = json.dumps(names, ensure_ascii=False).encode()
        row.note("user_ids", "members-merged")


def take_api_key(row: Row, context: Context) -> None:
    """Give the user the newest key of the ``api_key`` table, where the source has one."""
    keys = context.references.api_keys.values.get(row.text("id") or b"")
    if keys and not row.text("api_key"):
        row.values["api_key"] = keys[0]
        _unique_or_null(row, context, "api_key")


def _each(*rules: Callable[[Row, Context], None]) -> Callable[[Row, Context], None]:
    def apply(row: Row, context: Context) -> None:
        for rule in rules:
            rule(row, context)

    return apply


# Asked before anything else, with nothing converted yet.
EARLY_RULES: dict[str, Callable[[Row, Context], None]] = {
    "chat": refuse_snapshot,
    "message": refuse_channel_message,
}
# What decides whether the target gets the row.
RULES: dict[str, Callable[[Row, Context], None]] = {
    "user": _user,
    "auth": _auth,
    "channel": _channel,
    "message": _message,
    "tag": _tag,
    "channel_member": _each(_reference("channel_id", "channel"), refuse_inactive_member),
    "message_reaction": _reference("message_id", "message"),
    "file": _file,
    "prompt": settle_prompt,
}
# What only fills columns, and may ask for the ids of its own table.
_FILLED: dict[str, Callable[[Row, Context], None]] = {
    "user": take_api_key,
    "folder": _folder,
    "message": _replies,
    "chat": _chat,
    "knowledge": _knowledge,
    "group": _group,
}
LATE_RULES = _FILLED | {
    table: _each(*filter(None, (_FILLED.get(table), settle_access(table))))
    for table in access.TABLES
}
