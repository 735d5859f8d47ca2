"""The report of a migration: one document, from which text, JSON and the page are made."""

from typing import Any

from owctl.migrate.journal import Journal


def build_report(journal: Journal) -> dict[str, Any]:
    """Return the report of what the journal says was done."""
    facts = journal.facts
    tables = facts["load"]["tables"]
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
        "notes": facts["load"]["notes"],
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


def to_do(journal: Journal) -> list[str]:
    """Return what is left for a person."""
    facts = journal.facts
    lines = []
    sign_in, files = facts["sign_in"], facts["files"]
    if sign_in["one_time"]:
        lines.append(f"Hand out the one-time passwords in {sign_in['path']}, then delete the file.")
    if sign_in["locked_out"]:
        lines.append("Set a new password for each account that cannot sign in.")
    if totals(facts["load"]["tables"])["rejected"]:
        lines.append(f"Look through the rows that stayed behind: {facts['load']['rejects_path']}")
    if files["missing"]:
        lines.append(f"{len(files['missing'])} uploaded files are missing in the source.")
    if facts["source"]["vector_data"]:
        lines.append(
            "Index the documents of every knowledge base again: embeddings are not carried over."
        )
    lines.append("Check the settings in the administration: the new backend names some otherwise.")
    if journal.origin["kind"] == "container":
        name = journal.origin["name"]
        lines.append(f"When all is well: docker rm {name}. Until then, owctl migrate rollback.")
    lines.append(f"Keep or delete {journal.folder}: it holds all data and secrets of the old one.")
    return lines
