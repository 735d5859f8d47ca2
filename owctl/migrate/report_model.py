"""What every report says of the old database itself, and in words of what became of it."""

from collections.abc import Iterable, Mapping
from typing import Any

from owctl.errors import OwctlError
from owctl.migrate.column_map import COLUMN_MAP
from owctl.migrate.emails import duplicate_emails
from owctl.migrate.explanations import explain_change, explain_rejection
from owctl.migrate.identifiers import quoted
from owctl.migrate.json_repair import JsonUnusable
from owctl.migrate.json_text import clean_json, parsed
from owctl.migrate.model import Options
from owctl.migrate.source import Source, Unreadable

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
        if table not in COLUMN_MAP or table not in options.target_columns:
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
    if "data" not in source.columns.get("config", ()):
        return []
    last = None
    for row in source.rows("config", ("data",)):
        if not isinstance(row, Unreadable):
            last = row[1][0]
    try:
        content = parsed(clean_json(last)[0])
    except (JsonUnusable, RecursionError):
        return []
    return [{"key": key, "variable": CARRIED_OVER.get(key)} for key in sorted(_keys(content, ""))]


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
