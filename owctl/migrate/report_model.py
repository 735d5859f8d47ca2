"""What can be said of the old database before anything is loaded. Reads; changes nothing."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from owctl.errors import OwctlError
from owctl.migrate.column_map import COLUMN_MAP
from owctl.migrate.emails import duplicate_emails
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
_HASHES = (("bcrypt", b"$2"), ("argon2", b"$argon2"))
# Source columns that go into another column, or only say what the target need not know.
_TAKEN_OTHERWISE = {
    "user": frozenset(("oauth",)),
    "prompt": frozenset(("id", "timestamp")),
    "tag": frozenset(("meta",)),
}
# Rows and indexes of PostgreSQL beside those of SQLite; the log of the transaction comes on top.
_TARGET_SHARE = 1.3


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that was changed in the old backend; its value is never part of a report.

    ``variable`` is the stack's name for it in ``.env``, None where the new backend has none.
    """

    key: str
    variable: str | None


@dataclass(frozen=True, slots=True)
class DroppedColumn:
    """A column of the source with values that nothing in the target takes."""

    table: str
    column: str
    rows: int


@dataclass(frozen=True, slots=True)
class SourceReport:
    """``password_hashes`` counts accounts by kind: ``bcrypt``, ``argon2``, ``other``, ``none``.

    ``rows`` by table; ``duplicate_emails``: the ids of the accounts by address, the one that keeps
    it first. ``needed_bytes`` is what the target will take, log of the transaction included.
    """

    version: str
    alembic_head: str | None
    size_bytes: int
    needed_bytes: int
    integrity: tuple[str, ...]
    rows: Mapping[str, int]
    dropped_columns: tuple[DroppedColumn, ...]
    password_hashes: Mapping[str, int]
    duplicate_emails: Mapping[str, tuple[str, ...]]
    settings: tuple[Setting, ...]


def describe(source: Source, options: Options) -> SourceReport:
    """Return what the report says of the source itself."""
    return SourceReport(
        version=source.version.name,
        alembic_head=source.version.head,
        size_bytes=source.size_bytes,
        needed_bytes=int(source.size_bytes * (1 + _TARGET_SHARE)),
        integrity=source.integrity,
        rows={table: source.rows_in(table) for table in source.tables},
        dropped_columns=tuple(dropped_columns(source, options)),
        password_hashes=dict(password_hashes(source)),
        duplicate_emails={
            email: tuple(account.id for account in sharing)
            for email, sharing in duplicate_emails(source).items()
        },
        settings=tuple(settings(source)),
    )


def dropped_columns(source: Source, options: Options) -> list[DroppedColumn]:
    """Return the columns that no rule reads, or whose target column this version lacks."""
    found = []
    for table, columns in source.columns.items():
        if table not in COLUMN_MAP or table not in options.target_columns:
            continue
        taken = {
            column.read_from
            for column in COLUMN_MAP[table]
            if column.name in options.target_columns[table]
        } | _TAKEN_OTHERWISE.get(table, frozenset())
        for column in columns:
            rows = 0 if column in taken else _filled(source, table, column)
            if rows:
                found.append(DroppedColumn(table, column, rows))
    return found


def password_hashes(source: Source) -> Counter[str]:
    """Count the accounts by the kind of their password's hash; only argon2 lets somebody in."""
    kinds: Counter[str] = Counter()
    if "password" not in source.columns.get("auth", ()):
        return kinds
    for row in source.rows("auth", ("password",)):
        if isinstance(row, Unreadable):
            continue
        value = row[1][0]
        if not isinstance(value, bytes) or not value:
            kinds["none"] += 1
            continue
        kinds[next((kind for kind, mark in _HASHES if value.startswith(mark)), "other")] += 1
    return kinds


def settings(source: Source) -> list[Setting]:
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
    return [Setting(key, CARRIED_OVER.get(key)) for key in sorted(_keys(content, ""))]


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
