"""What a report says of the old database and of its rows, and the sentences that explain it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from owctl.errors import OwctlError
from owctl.migrate.convert.column_map import COLUMN_MAP, Options
from owctl.migrate.convert.json_text import JsonUnusable, clean_json, parsed
from owctl.migrate.convert.mapping import fills, references_of
from owctl.migrate.convert.references import duplicate_emails
from owctl.migrate.convert.sharing import prompts_not_public
from owctl.migrate.convert.values import clean_text, quoted
from owctl.migrate.source.database import Source, Unreadable

# -- What the codes of notes and rejects mean, in words for the report.


@dataclass(frozen=True, slots=True)
class Explanation:
    """``loses`` tells whether the old database knew something that the new one does not."""

    text: str
    loses: bool = False


CHANGES: dict[str, Explanation] = {
    "access-group-lost": Explanation(
        "names a group that stays behind: its members lose access", True
    ),
    "access-made-explicit": Explanation("who may read, with every list written out"),
    "access-made-private": Explanation("private: a newer source keeps access elsewhere", True),
    "access-unreadable": Explanation(
        "no policy that can be read; private as far as it is not", True
    ),
    "boolean-guessed": Explanation("a number other than 0 and 1, taken for yes"),
    "boolean-unreadable": Explanation("neither yes nor no; the default", True),
    "circle-cut": Explanation("a circle of folders was cut here; now at the top", True),
    "date-unreadable": Explanation("no date of the form YYYY-MM-DD; left empty", True),
    "double-encoded": Explanation("JSON within JSON, unpacked once"),
    "duplicate-renamed": Explanation("another account keeps the address; a new one was made", True),
    "duplicate-to-null": Explanation("another row has it, and each may be there once", True),
    "email-from-user": Explanation("the address of the account's row in user"),
    "file-ids-merged": Explanation("files of the knowledge, from knowledge_file"),
    "folder-missing": Explanation("its folder is not there or somebody else's; in none now", True),
    "fraction-dropped": Explanation("fractions of a second or of a number dropped", True),
    "grants-made-lists": Explanation("who may read, from access_grant"),
    "invalid-json-to-null": Explanation("no valid JSON; left empty", True),
    "json-too-deep-to-null": Explanation("JSON nested too deep; left empty", True),
    "json-too-large-to-null": Explanation("JSON of more than 256 MB; left empty", True),
    "lower-cased": Explanation("in lower case, as the new backend looks it up"),
    "members-made-lists": Explanation("its members, as lists; administrators may read it, too"),
    "no-longer-archived": Explanation("an archived channel; the new backend lists it", True),
    "members-merged": Explanation("members of the group, from group_member"),
    "ms-to-s": Explanation("milliseconds to seconds"),
    "name-from-email": Explanation("no name; the address instead"),
    "nan-to-null": Explanation("NaN or Infinity, which JSON does not know; null"),
    "new-password": Explanation("a one-time password"),
    "ns-to-s": Explanation("nanoseconds to seconds"),
    "nul-removed": Explanation("NUL characters, which PostgreSQL does not store, removed"),
    "null-text": Explanation("JSON's null or an empty text; NULL"),
    "null-to-default": Explanation("empty; the default instead"),
    "number-to-null": Explanation("a number too large or too fine for PostgreSQL; null", True),
    "number-unreadable": Explanation("no number; left empty", True),
    "oauth-unreadable": Explanation("the provider's account cannot be read; left empty", True),
    "only-first-provider": Explanation("only the first sign-in provider is kept", True),
    "orphan-assigned": Explanation("its user is missing; given to the chosen one"),
    "parent-missing": Explanation("its parent folder is not there; now at the top"),
    "parent-of-other-user": Explanation("its parent folder is somebody else's; now at the top"),
    "path-kept": Explanation("not among the uploads; the path stays, and leads nowhere", True),
    "path-rewritten": Explanation("the new backend's upload folder"),
    "prompt-becomes-public": Explanation("not for everybody until now; as was asked for", True),
    "public-to-write": Explanation(
        "everybody may read it; in the new backend change it, too", True
    ),
    "reply-to-deleted": Explanation("answers a deleted message; shown no more than before"),
    "reply-to-rejected": Explanation(
        "what it answers stays behind; now in the channel itself", True
    ),
    "role-too-long": Explanation(
        "a role longer than its column; pending, until somebody decides", True
    ),
    "role-unknown": Explanation("a role that the new backend does not know; kept"),
    "share-differs": Explanation("the chat went on after it was shared; the link is dropped", True),
    "share-restricted": Explanation("a link for some; the new backend's is for all; dropped", True),
    "share-without-snapshot": Explanation("a link that led nowhere; dropped"),
    "slash-added": Explanation("the slash with which the new backend looks it up"),
    "surrogate-replaced": Explanation("half an emoji, which UTF-8 cannot hold; U+FFFD"),
    "text-cut": Explanation("longer than its column; cut, with … at the end", True),
    "time-from-number": Explanation("a number of seconds; as a date and time"),
    "time-from-sister": Explanation("no time; that of creation or of the last change"),
    "time-from-words": Explanation("a date and time in words; as seconds, read as UTC"),
    "time-unknown": Explanation("no time at all; 1970"),
    "time-unreadable": Explanation("no time that can be read; as if there were none", True),
    "too-long-to-null": Explanation(
        "longer than its column, and of no use in part; left empty", True
    ),
    "us-to-s": Explanation("microseconds to seconds"),
    "utf8-replaced": Explanation("bytes that are no UTF-8; U+FFFD", True),
}

REJECTIONS: dict[str, str] = {
    "bookkeeping": "the old backend's own notes about its migrations",
    "deleted-channel": "deleted in the old backend, which kept it hidden",
    "duplicate-email": "another account has the address",
    "duplicate-key": "another row has the same id; the first was kept",
    "empty-api-key": "an API key without a key",
    "expired-api-key": "an API key that has expired",
    "invalid-json": "its content is no valid JSON",
    "json-too-deep": "its content is nested deeper than PostgreSQL takes",
    "json-too-large": "its content is larger than the 256 MB that PostgreSQL takes",
    "left-channel": "no longer a member of its channel",
    "legacy": "a table that the old backend no longer used",
    "merged-access": "kept: in access_control of what it is for",
    "merged-group": "kept: in user_ids of its group",
    "merged-knowledge": "kept: in data.file_ids of its knowledge",
    "merged-tag": "kept: the same tag of another account",
    "merged-user": "kept: as api_key of its user",
    "missing-key": "it has no id",
    "no-feature": "the new backend has nothing like it",
    "not-carried-over": "sessions end: users sign in again",
    "null-not-allowed": "a value is missing that the new database demands",
    "number-out-of-range": "a number is too large for its column",
    "orphan-channel": "its channel is not there",
    "orphan-file": "its file is not there",
    "orphan-group": "its group is not there",
    "orphan-knowledge": "its knowledge is not there",
    "orphan-message": "its message is not there",
    "orphan-model": "its model is not there",
    "orphan-note": "its note is not there",
    "orphan-prompt": "its prompt is not there",
    "orphan-tool": "its tool is not there",
    "orphan-user": "its user is not there",
    "owner-rejected": "its owner's account was rejected; given to nobody else",
    "prompt-not-public": "every account would get it; --prompts-become-public takes it along",
    "refused-by-server": "PostgreSQL did not take it; the detail has its words",
    "set-anew": "settings; the new backend has its own: .env and its administration",
    "shared-snapshot": "the snapshot of a shared chat; the chat itself is kept",
    "superseded-api-key": "its user has a newer API key",
    "target-too-old": "this version of the new backend has no room for it",
    "too-long": "a text is longer than its column allows",
    "unknown-table": "a table that owctl does not know",
    "unreadable": "it lies on a damaged page of the database",
}


def explain_change(kind: str) -> Explanation:
    """Return what a note's kind means; an unknown one stands for itself."""
    return CHANGES.get(kind, Explanation(kind))


def explain_rejection(reason: str) -> str:
    """Return what a reject's reason means; an unknown one stands for itself."""
    return REJECTIONS.get(reason, reason)


# -- What every report says of the old database itself, and in words of what became of it.


# Settings of the old backend's ``config`` table that the new stack takes from its environment.
CARRIED_OVER = {
    "auth.jwt_expiry": "JWT_EXPIRES_IN",
    "auth.admin.show": "SHOW_ADMIN_DETAILS",
    "auth.api_key.enable": "ENABLE_API_KEY",
    "auth.enable_api_keys": "ENABLE_API_KEY",
    "ui.enable_signup": "ENABLE_SIGNUP",
    "ui.ENABLE_LOGIN_FORM": "ENABLE_LOGIN_FORM",
    "ui.default_user_role": "DEFAULT_USER_ROLE",
    "ui.enable_community_sharing": "ENABLE_COMMUNITY_SHARING",
    "ui.enable_message_rating": "ENABLE_MESSAGE_RATING",
    "webui.url": "WEBUI_URL",
    "openai.enable": "ENABLE_OPENAI_API",
    "openai.api_base_urls": "OPENAI_API_BASE_URL",
    "openai.api_keys": "OPENAI_API_KEY",
    "channels.enable": "ENABLE_CHANNELS",
    "notes.enable": "ENABLE_NOTES",
    "image_generation.enable": "ENABLE_IMAGE_GENERATION",
    "code_execution.enable": "ENABLE_CODE_EXECUTION",
    "rag.web.search.enable": "ENABLE_WEB_SEARCH",
    "rag.enable_hybrid_search": "ENABLE_RAG_HYBRID_SEARCH",
    "rag.embedding_model": "RAG_EMBEDDING_MODEL",
    "rag.reranking_model": "RAG_RERANKING_MODEL",
    "audio.stt.whisper_model": "WHISPER_MODEL",
}
# Source columns that go into another column, or only say what the target need not know.
_TAKEN_OTHERWISE = {
    "user": frozenset(("oauth",)),
    "prompt": frozenset(("id", "timestamp")),
    "channel": frozenset(("deleted_at", "archived_at")),
    "channel_member": frozenset(("is_active", "status", "left_at")),
    "tag": frozenset(("meta",)),
}


def describe(source: Source, options: Options) -> dict[str, Any]:
    """Return the parts of a report that are about the source; values of settings are never in it.

    ``config_settings`` names what was set in the old backend: ``variable`` is the name in the new
    stack's ``.env``, None where the new backend takes it from its database or has no such thing.
    ``duplicate_emails`` has the ids of the accounts, the one that keeps the address first.
    """
    return {
        "columns_without_target": dropped_columns(source, options),
        "duplicate_emails": [
            {"email": email, "accounts": [account.id for account in sharing]}
            for email, sharing in duplicate_emails(source).items()
        ],
        "config_settings": config_settings(source),
        "prompts_not_public": prompts_not_public(source, options, references_of(source, options)),
    }


def source_document(source: Source) -> dict[str, Any]:
    """Return which source it is, by its own columns; ``rows`` by table, where there are any."""
    counted = {table: source.rows_in(table) for table in source.tables}
    return {
        "version": source.version.name,
        "alembic_head": source.version.head,
        "size_bytes": source.size_bytes,
        "damage": list(source.integrity),
        "rows": {table: rows for table, rows in counted.items() if rows},
    }


def meanings(
    tables: Iterable[Mapping[str, Any]], notes: Iterable[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return what the codes in a report mean; ``loses``: something of the old database is gone."""
    found: dict[str, dict[str, Any]] = {}
    for table in tables:
        for reason in table["reasons"]:
            merged = reason.startswith("merged-")
            found[reason] = {"text": explain_rejection(reason), "loses": not merged}
    for note in notes:
        explanation = explain_change(note["kind"])
        found[note["kind"]] = {"text": explanation.text, "loses": explanation.loses}
    return dict(sorted(found.items()))


def dropped_columns(source: Source, options: Options) -> list[dict[str, Any]]:
    """Return the columns that no rule reads, or whose target column this version lacks."""
    found = []
    for table, columns in source.columns.items():
        if table not in options.target_columns or not fills(table, source):
            continue
        taken = {
            column.found_in(columns)
            for column in COLUMN_MAP[table]
            if column.name in options.target_columns[table]
        } | _TAKEN_OTHERWISE.get(table, frozenset())
        for column in columns:
            rows = 0 if column in taken else _filled(source, table, column)
            if rows:
                found.append({"table": table, "column": column, "rows": rows})
    return found


def config_settings(source: Source) -> list[dict[str, str | None]]:
    """Return the settings of the row of ``config`` that counts, the one with the highest id."""
    columns = source.columns.get("config", ())
    if {"key", "value"} <= set(columns):
        rows = source.rows("config", ("key",))
        names = [clean_text(r[1][0])[0] or b"" for r in rows if not isinstance(r, Unreadable)]
        return [_setting(name.decode()) for name in sorted(names)]
    if "data" not in columns:
        return []
    last = None
    for row in source.rows("config", ("data",)):
        if not isinstance(row, Unreadable):
            last = row[1][0]
    try:
        content = parsed(clean_json(last)[0])
    except (JsonUnusable, RecursionError):
        return []
    return [_setting(key) for key in sorted(_keys(content, ""))]


def _setting(key: str) -> dict[str, str | None]:
    return {"key": key, "variable": CARRIED_OVER.get(key)}


def settings_stay(report: Mapping[str, Any]) -> bool:
    """Tell whether the source's settings are in a form that the new backend does not take."""
    return any(each["source"] == "config" and each["target"] is None for each in report["tables"])


def _keys(value: object, prefix: str) -> list[str]:
    """Return the dotted names of the settings; what lies below one that is known is its value.

    So is an object by numbers or addresses: those may be secret themselves.
    """
    is_group = isinstance(value, dict) and value and all(map(str.isidentifier, value))
    if not is_group or not isinstance(value, dict) or prefix in CARRIED_OVER:
        return [prefix] if prefix else []
    return [
        key
        for name, inner in value.items()
        for key in _keys(inner, f"{prefix}.{name}" if prefix else name)
    ]


def _filled(source: Source, table: str, column: str) -> int:
    """Count the rows where the column says something: not NULL, empty, ``null`` or 0."""
    name = quoted(column)
    try:
        rows = source.query(
            f"SELECT count(*) FROM {quoted(table)} WHERE {name} IS NOT NULL "
            f"AND {name} NOT IN ('', 'null', '{{}}', '[]', 0)"
        )
    except OwctlError:  # damaged pages
        return 0
    return int(rows[0][0])
