"""The report of a migration: one document, from which text, JSON and the page are made."""

from typing import Any

from owctl.migrate.folder import Journal
from owctl.migrate.report.model import meanings


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
