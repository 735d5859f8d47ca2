"""The report: what was read, converted, rejected and verified, and the sentences that explain it."""

from collections.abc import Iterable, Mapping
from typing import Any

from owctl.errors import OwctlError
from owctl.migrate.convert.column_map import COLUMN_MAP, Options
from owctl.migrate.convert.json_text import JsonUnusable, clean_json, parsed
from owctl.migrate.convert.mapping import fills, references_of
from owctl.migrate.convert.references import duplicate_emails
from owctl.migrate.convert.sharing import prompts_not_public
from owctl.migrate.convert.values import clean_text, quoted
from owctl.migrate.folder import Journal
from owctl.migrate.report.words import explain_change, explain_rejection
from owctl.migrate.source.database import Source, Unreadable

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


# -- The report of a migration: one document, from which text, JSON and the page are made.


def build_report(journal: Journal) -> dict[str, Any]:
    """Return the report of what the journal says was done."""
    facts = journal.facts
    tables, notes = facts["load"]["tables"], facts["load"]["notes"]
    failed = [proof for proof in facts["proofs"] if proof["status"] == "failed"]
    files = {key: value for key, value in facts["files"].items() if key != "hashes"}
    return {
        "schema": 1,
        "project": journal.project,
        "id": journal.id,
        "status": "failed" if failed else "migrated",
        "folder": str(journal.folder),
        "sign_in": facts["sign_in"],
        "source": facts["source"],
        "target": facts["target"],
        "totals": totals(tables),
        "tables": tables,
        "notes": notes,
        "meanings": meanings(tables, notes),
        **facts["findings"],
        "changes": facts["load"]["changes"],
        "rejects_path": facts["load"]["rejects_path"],
        "files": files,
        "backup": facts.get("backup"),
        "proofs": facts["proofs"],
        "to_do": to_do(journal),
        "seconds": facts["seconds"],
    }


def totals(tables: list[dict[str, Any]]) -> dict[str, int]:
    """Return the sums over all tables; ``unaccounted`` is 0, or the load would have failed."""
    names = ("source_rows", "inserted", "rejected", "merged")
    found = {name: sum(table[name] for table in tables) for name in names}
    found["unaccounted"] = found["source_rows"] - found["inserted"] - found["rejected"]
    return found


def to_do_before(report: dict[str, Any]) -> list[str]:
    """Return what a person has to see to around a migration that was only rehearsed."""
    space = report["space"]
    room = space["database_free_bytes"]
    lines = []
    if space["free_bytes"] < space["copy_bytes"] or (
        room is not None and room < space["database_bytes"]
    ):
        lines.append("Make room first: there is less space free than the migration needs.")
    lines += _people(report) + _files_left(report["files"])
    return lines + _settings_and_vectors(report, report["source"]["vector_data"])


def to_do(journal: Journal) -> list[str]:
    """Return what is left for a person."""
    facts = journal.facts
    lines = []
    sign_in, files = facts["sign_in"], facts["files"]
    if sign_in["one_time"]:
        lines.append(f"Hand out the one-time passwords in {sign_in['path']}, then delete the file.")
    if sign_in["locked_out"]:
        lines.append("Set a new password for each account that cannot sign in.")
    if sign_in.get("without_password"):
        lines.append("Set a password for each account that has none.")
    lines += _people(facts["findings"])
    if totals(facts["load"]["tables"])["rejected"]:
        lines.append(f"Look through the rows that stayed behind: {facts['load']['rejects_path']}")
    lines += _files_left(files)
    lines += _settings_and_vectors(facts["findings"], facts["source"]["vector_data"])
    lines.append("Check the settings in the administration: the new backend names some otherwise.")
    if journal.origin["kind"] == "container":
        name = journal.origin["name"]
        lines.append(f"When all is well: docker rm {name}. Until then, owctl migrate rollback.")
    lines.append(f"Keep or delete {journal.folder}: it holds all data and secrets of the old one.")
    return lines


def _files_left(files: dict[str, Any] | None) -> list[str]:
    lines = []
    if files and files["missing"]:
        lines.append(
            f"Uploaded files that the source does not have: {len(files['missing'])}. If they are on "
            "this machine, name their folder with --uploads."
        )
    if files and files["elsewhere"]:
        lines.append(
            f"Uploaded files that lie elsewhere than in the folder of uploads: {len(files['elsewhere'])}. "
            "Bring them over by hand."
        )
    return lines


def _people(findings: dict[str, Any]) -> list[str]:
    """Return what to do for accounts that stay behind, and about prompts of the few."""
    lines = []
    accounts = len(findings.get("rejected_accounts", ()))
    if accounts:
        lines.append(
            f"Accounts that stay behind, with all that they own: {accounts}. Mend them in the old "
            "backend, then migrate anew."
        )
    prompts = findings.get("prompts_not_public", ())
    if prompts and not prompts[0]["migrated"]:
        lines.append(
            f"Prompts that are not for everybody stay behind: {len(prompts)}. The new backend shows "
            "each to every account; --prompts-become-public takes them along all the same."
        )
    return lines


def _settings_and_vectors(findings: dict[str, Any], vector_data: object) -> list[str]:
    lines = []
    names = {setting["variable"] for setting in findings["config_settings"]} - {None}
    if names:
        lines.append(
            "Set in .env what the old administration had set, then owctl restart: "
            f"{', '.join(sorted(names))}."
        )
    if vector_data:
        lines.append(
            "Index the documents of every knowledge base again: embeddings are not carried over."
        )
    return lines
