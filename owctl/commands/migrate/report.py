"""What a migration prints: its report, or that of its rehearsal, as text for a terminal."""

import json
import textwrap
from pathlib import Path
from typing import Any

from owctl.figures import readable
from owctl.migrate.report.model import settings_stay
from owctl.ui.console import Console
from owctl.ui.table import Cell, Column

# What the rows of the progress are called.
STEPS = {
    "stop-old": "old backend",
    "capture": "capture",
    "start-new": "new stack",
    "backup": "backup",
    "halt": "new backend",
    "load": "load",
    "files": "files",
    "start": "new stack again",
    "prove": "proof",
    "rollback": "rollback",
}


_STYLES = {"ok": "green", "failed": "bold red", "skipped": "dim"}
_SHOWN_ROWS = 5
_WIDTH = 80


def show(console: Console, report: dict[str, Any], working_dir: Path) -> None:
    """Print a report on stdout; first who stays behind, and who can sign in.

    Paths in the project's folder ``working_dir`` are shown as seen from there.
    """
    report = _shortened(report, f"{working_dir}/")
    _show_accounts(console, report.get("rejected_accounts", ()))
    for line in report["sign_in"]["lines"]:
        console.result(_filled(line))
    console.result()
    _show_source(console, report)
    _show_tables(console, report)
    _show_rejected(console, report)
    _show_changed(console, report)
    _show_findings(console, report)
    if report["status"] == "rehearsed":
        _show_rehearsal(console, report)
    else:
        _show_outcome(console, report)


def _show_accounts(console: Console, accounts: list[dict[str, Any]]) -> None:
    if not accounts:
        return
    noun = "account STAYS" if len(accounts) == 1 else "accounts STAY"
    console.result(f"{len(accounts)} {noun} BEHIND, with all that belongs to it:")
    for each in accounts:
        name = each["email"] or each["id"] or "an account without an address"
        console.result(_filled(f"{name}: {each['reason']}: {each['detail']}", "  ", "    "))
    console.result()


def _show_source(console: Console, report: dict[str, Any]) -> None:
    source, target = report["source"], report["target"]
    console.result(
        _filled(f"From the {source['kind']} {source['name']}, version {source['version']}")
    )
    for line in source["damage"][:_SHOWN_ROWS]:
        console.result(f"Damage in the source: {line}")
    if target is not None:
        console.result(
            f"To PostgreSQL at {target['address']}, tables of the migrations {target['schema']}"
        )
    console.result()


def _show_tables(console: Console, report: dict[str, Any]) -> None:
    if report["target"] is None:
        counted = [(table, f"{rows:,}") for table, rows in report["source"]["rows"].items()]
        console.table([Column("TABLE"), Column("ROWS", right=True)], counted)
        return
    columns = [Column("TABLE"), Column("INTO", narrow="crop")]
    columns += [Column(name, right=True) for name in ("ROWS", "MIGRATED", "REJECTED", "MERGED")]
    rows = [
        [
            table["source"],
            table["target"] or "–",
            f"{table['source_rows']:,}",
            f"{table['inserted']:,}",
            f"{table['rejected'] - table['merged']:,}",
            f"{table['merged']:,}",
        ]
        for table in report["tables"]
        if table["source_rows"]
    ]
    if rows:
        console.table(columns, rows)
    totals = report["totals"]
    if report["tables"]:
        console.result(
            _filled(
                f"{totals['source_rows']:,} rows: {totals['inserted']:,} migrated, "
                f"{totals['rejected'] - totals['merged']:,} rejected, {totals['merged']:,} merged "
                f"into others, {totals['unaccounted']:,} unaccounted for."
            )
        )


def _show_rejected(console: Console, report: dict[str, Any]) -> None:
    for table in report["tables"]:
        details = {each["reason"]: each["detail"] for each in reversed(table["examples"])}
        for reason, count in table["reasons"].items():
            meaning = report["meanings"][reason]["text"]
            detail = f" (first: {details[reason]})" if details.get(reason) else ""
            line = f"{table['source']}: {count:,} {reason}: {meaning}{detail}"
            console.result(_filled(line, "  ", "    "))


def _show_changed(console: Console, report: dict[str, Any]) -> None:
    for change in report["changes"]:
        console.result(_filled(f"Changed in the new database: {change}."))
    rows = [
        (
            f"{note['table']}.{note['column']}",
            f"{note['count']:,}",
            report["meanings"][note["kind"]]["text"],
            Cell("yes", "yellow") if report["meanings"][note["kind"]]["loses"] else "",
        )
        for note in report["notes"]
    ]
    if rows:
        console.result()
        columns = [Column("CONVERTED", narrow="fold"), Column("VALUES", right=True)]
        console.table([*columns, Column("HOW", narrow="fold"), Column("LOSS")], rows)


def _show_findings(console: Console, report: dict[str, Any]) -> None:
    columns = report["columns_without_target"]
    if columns:
        named = ", ".join(f"{c['table']}.{c['column']} ({c['rows']:,})" for c in columns)
        console.result(_filled(f"Columns without a place in the new database (rows): {named}."))
    for each in report["duplicate_emails"]:
        accounts = ", ".join(each["accounts"])
        console.result(_filled(f"Accounts with the address {each['email']}: {accounts}."))
    prompts = report.get("prompts_not_public", ())
    if prompts:
        what = "every account sees them now" if prompts[0]["migrated"] else "they stay behind"
        named = ", ".join(each["command"] for each in prompts)
        console.result(_filled(f"Prompts that are not for everybody ({what}): {named}."))
    others = sum(1 for setting in report["config_settings"] if setting["variable"] is None)
    if others:
        what = "to set anew" if settings_stay(report) else "loaded as they are"
        console.result(f"Other settings of the administration, {what}: {others}.")


def _show_rehearsal(console: Console, report: dict[str, Any]) -> None:
    space = report["space"]
    console.result()
    room = space["database_free_bytes"]
    there = "of which the free space is not known" if room is None else f"{readable(room)} free"
    console.result(
        _filled(
            f"It would take some {space['estimated_seconds']} s, "
            f"{readable(space['copy_bytes'])} of space in the project's folder "
            f"({readable(space['free_bytes'])} free) and {readable(space['database_bytes'])} on "
            f"the disk of PostgreSQL ({there})."
        )
    )
    if report["files"] is not None:
        _show_files(console, report["files"], "would be copied")
    if report["environment"]:
        console.result("Variables that the old container has otherwise; set them in .env:")
        console.table(
            [Column("NAME"), Column("OLD", narrow="fold"), Column("NEW", narrow="fold")],
            [(s["name"], s["old"] or "", s["new"] or "") for s in report["environment"]],
        )
    for line in report["to_do"]:
        console.result(_filled(f"- {line}", "", "  "))
    console.result("Nothing was changed.")


def _show_files(console: Console, files: dict[str, Any], how: str) -> None:
    rejected = files.get("of_rejected_rows", ())
    console.result(
        _filled(
            f"Files: {files['copied']:,} {how} "
            f"({readable(files['copied_bytes'])}), {len(files['missing'])} missing, "
            f"{len(files['elsewhere'])} kept elsewhere, {len(rejected)} of rows that stay behind, "
            f"{len(files['unreferenced'])} not named by any row."
        )
    )
    for row in files["missing"]:
        console.result(f"  missing: {row['path']}")
    for row in files["elsewhere"]:
        console.result(f"  elsewhere: {row['path']}")


def _show_outcome(console: Console, report: dict[str, Any]) -> None:
    _show_files(console, report["files"], "copied and read back")
    if report["backup"]:
        console.result(f"What was there before is in the backup {report['backup']['path']}.")
    console.result()
    console.table(
        [Column("PROVEN"), Column("STATUS"), Column("DETAIL", narrow="fold")],
        [
            [proof["name"], Cell(proof["status"], _STYLES[proof["status"]]), proof["detail"]]
            for proof in report["proofs"]
        ],
    )
    console.result()
    console.result("Left for you to do:")
    for line in report["to_do"]:
        console.result(_filled(f"- {line}", "  ", "    "))
    console.result(f"The whole report: {report['folder']}/report.html")


def _filled(text: str, indent: str = "", hanging: str | None = None) -> str:
    """Break a sentence into lines, but no path and no address."""
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _shortened(report: dict[str, Any], folder: str) -> dict[str, Any]:
    text = json.dumps(report)
    shortened: dict[str, Any] = json.loads(text.replace(json.dumps(folder)[1:-1], ""))
    return shortened
