"""The report as a page of HTML, with its picture."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from owctl.migrate.folder import write_text
from owctl.migrate.report.model import settings_stay

# -- The picture of a report: a bar for each table, migrated, merged into others, rejected.


_BAR_PIXELS, _ROW_PIXELS, _LABEL_PIXELS, _COUNT_PIXELS = 420, 24, 150, 260
_NARROWEST_PIXELS = 2.0


def picture(tables: Sequence[dict[str, Any]]) -> str:
    """Return the bars of all tables that have rows, as one SVG element."""
    shown = [table for table in tables if table["source_rows"]]
    width = _LABEL_PIXELS + _BAR_PIXELS + _COUNT_PIXELS
    height = _ROW_PIXELS * max(1, len(shown))
    most = max((table["source_rows"] for table in shown), default=1)
    bars = [_bar(number * _ROW_PIXELS, table, most) for number, table in enumerate(shown)]
    label = "Rows of each table: migrated, merged into others, rejected"
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {width} {height}" width="{width}">'
        f"<title>{label}</title>{''.join(bars)}</svg>"
    )


def _bar(top: int, table: dict[str, Any], most: int) -> str:
    counts = (
        ("migrated", table["inserted"]),
        ("merged", table["merged"]),
        ("rejected", table["rejected"] - table["merged"]),
    )
    x, parts = float(_LABEL_PIXELS), []
    for kind, count in counts:
        if not count:
            continue
        # A few rows among many still have to be seen.
        wide = max(_NARROWEST_PIXELS, _BAR_PIXELS * count / most)
        parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{top + 4}" width="{wide:.1f}" '
            f'height="{_ROW_PIXELS - 8}"><title>{kind}: {count}</title></rect>'
        )
        x += wide
    text = ", ".join(f"{count:,} {kind}" for kind, count in counts if count)
    return (
        f'<text x="{_LABEL_PIXELS - 8}" y="{top + 16}" text-anchor="end">'
        f"{escape(table['source'])}</text>"
        f'{"".join(parts)}<text x="{x + 6:.1f}" y="{top + 16}">{text}</text>'
    )


# -- The report as one page that needs nothing else: tables, and one picture of rows per table.


_STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #2a7d4f; --bad: #c2572b; --calm: #7a7f87; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.scroll { overflow-x: auto; } .ok { color: var(--good); } .failed { color: var(--bad); }
.skipped { color: var(--calm); } svg { max-width: 100%; height: auto; }
svg text { font: 13px system-ui, sans-serif; fill: currentColor; }
.migrated { fill: var(--good); } .rejected { fill: var(--bad); } .merged { fill: var(--calm); }
"""


def write_page(path: Path, report: dict[str, Any]) -> None:
    """Write the page of a report; raises OwctlError."""
    write_text(path, render(report))


def render(report: dict[str, Any]) -> str:
    """Return the page's HTML, of a migration or of its rehearsal."""
    rehearsed = report["status"] == "rehearsed"
    title = "Migration, rehearsed" if rehearsed else f"Migration {report['id']}: {report['status']}"
    outcome = (
        [*_section("Room and time", _space(report["space"]))]
        if rehearsed
        else [*_section("Proven", _proofs(report["proofs"]))]
    )
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            *_section("Accounts that stay behind", _accounts(report.get("rejected_accounts", ()))),
            *_section("Who can sign in", _list(report["sign_in"]["lines"])),
            *_section("Rows", [*_totals(report["totals"]), picture(report["tables"])]),
            *outcome,
            *_section("Left for you to do", _list(report["to_do"])),
            *_section("Every table of the source", _tables(report)),
            *_section("Rows that stayed behind", _reasons(report)),
            *_section("Changed on the way", _notes(report)),
            *_section("Columns without a target", _columns(report["columns_without_target"])),
            *_section("Prompts that are not for everybody", _prompts(report)),
            *_section("Settings of the old administration", _settings(report)),
            *_section("Variables of the old container", _environment(report)),
            *_section("Files", _files(report["files"], rehearsed=rehearsed)),
            *_section("Source and target", _facts(report)),
            "</body></html>\n",
        ]
    )


def _section(title: str, lines: Iterable[str]) -> list[str]:
    content = list(lines)
    return [f"<h2>{title}</h2>", *content] if content else []


def _list(lines: Iterable[str]) -> list[str]:
    return ["<ul>", *(f"<li>{escape(line)}</li>" for line in lines), "</ul>"]


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    found = list(rows)
    if not found:
        return []
    lines = ["<tr>" + "".join(map(_cell, row)) + "</tr>" for row in found]
    marks = [' class="number"' if isinstance(value, int) else "" for value in found[0]]
    head = "".join(
        f"<th{mark}>{escape(text)}</th>" for text, mark in zip(heads, marks, strict=True)
    )
    return ['<div class="scroll"><table>', f"<tr>{head}</tr>", *lines, "</table></div>"]


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f'<td class="number">{value:,}</td>'
    return f"<td>{escape(str(value))}</td>"


def _accounts(accounts: Iterable[dict[str, Any]]) -> list[str]:
    rows = [(a["email"] or a["id"] or "–", a["reason"], a["detail"]) for a in accounts]
    return _table(("Account, with all that it owns", "Reason", "In words"), rows)


def _totals(totals: dict[str, int]) -> list[str]:
    return [
        f"<p>{totals['source_rows']:,} rows in the source: {totals['inserted']:,} migrated, "
        f"{totals['merged']:,} merged into others, {totals['rejected'] - totals['merged']:,} "
        f"rejected, {totals['unaccounted']:,} unaccounted for.</p>"
    ]


def _proofs(proofs: Iterable[dict[str, str]]) -> list[str]:
    rows = (
        f'<tr><td>{escape(each["name"])}</td><td class="{each["status"]}">'
        f"{escape(each['status'])}</td><td>{escape(each['detail'])}</td></tr>"
        for each in proofs
    )
    return ["<table>", *rows, "</table>"]


def _tables(report: dict[str, Any]) -> list[str]:
    if report["target"] is None:
        return _table(("Table", "Rows"), list(report["source"]["rows"].items()))
    heads = ("Table", "Into", "Rows", "Migrated", "Rejected", "Merged")
    rows = [
        (
            table["source"],
            table["target"] or "–",
            table["source_rows"],
            table["inserted"],
            table["rejected"] - table["merged"],
            table["merged"],
        )
        for table in report["tables"]
    ]
    return _table(heads, rows)


def _reasons(report: dict[str, Any]) -> list[str]:
    rows = []
    for table in report["tables"]:
        details = {each["reason"]: each["detail"] for each in reversed(table["examples"])}
        rows += [
            (
                table["source"],
                reason,
                count,
                report["meanings"][reason]["text"],
                details.get(reason, ""),
            )
            for reason, count in table["reasons"].items()
        ]
    return _table(("Table", "Reason", "Rows", "In words", "For example"), rows)


def _notes(report: dict[str, Any]) -> list[str]:
    meanings = report["meanings"]
    rows = [
        (
            note["table"],
            note["column"],
            note["kind"],
            note["count"],
            meanings[note["kind"]]["text"],
            "yes" if meanings[note["kind"]]["loses"] else "–",
        )
        for note in report["notes"]
    ]
    changes = _list(report["changes"]) if report["changes"] else []
    heads = ("Table", "Column", "What", "Values", "In words", "Loses something")
    return [*changes, *_table(heads, rows)]


def _columns(columns: Iterable[dict[str, Any]]) -> list[str]:
    rows = [(each["table"], each["column"], each["rows"]) for each in columns]
    return _table(("Table", "Column", "Rows with a value"), rows)


def _prompts(report: dict[str, Any]) -> list[str]:
    rows = [
        (each["command"], "yes, for every account" if each["migrated"] else "no")
        for each in report.get("prompts_not_public", ())
    ]
    return _table(("Prompt", "Migrated"), rows)


def _settings(report: dict[str, Any]) -> list[str]:
    other = "set it anew" if settings_stay(report) else "loaded as it is"
    rows = [(str(each["key"]), each["variable"] or other) for each in report["config_settings"]]
    return _table(("Setting", "In .env"), rows)


def _environment(report: dict[str, Any]) -> list[str]:
    rows = [
        (each["name"], each["old"] or "", each["new"] or "")
        for each in report.get("environment", ())
    ]
    return _table(("Variable", "Old", "New"), rows)


def _space(space: dict[str, int | None]) -> list[str]:
    rows = [
        (
            name.replace("_bytes", ", bytes").replace("_", " "),
            "not known" if v is None else f"{v:,}",
        )
        for name, v in space.items()
    ]
    return _table(("What", "Value"), rows)


def _files(files: dict[str, Any] | None, *, rehearsed: bool) -> list[str]:
    if files is None:
        return []
    how = "would be copied" if rehearsed else "copied and read back"
    lines = [f"{files['copied']:,} files {how}, {files['copied_bytes']:,} bytes."]
    for key, text in (
        ("missing", "named by the database, but not in the source"),
        ("elsewhere", "kept elsewhere than in the folder of uploads"),
        ("of_rejected_rows", "of rows that stay behind; not copied"),
        ("unreferenced", "in the folder of uploads, but named by no row; not copied"),
    ):
        if files.get(key):
            lines.append(f"{len(files[key]):,} {text}.")
    rows = [(each["path"], key) for key in ("missing", "elsewhere") for each in files[key]]
    return [*_list(lines), *_table(("File that does not come along", "Why"), rows)]


def _facts(report: dict[str, Any]) -> list[str]:
    rows = [("Project", report["project"])]
    if "folder" in report:
        rows.append(("Folder", report["folder"]))
    for part in ("source", "target"):
        rows += [
            (f"{part}: {name.replace('_', ' ')}", str(value))
            for name, value in (report[part] or {}).items()
            if isinstance(value, str | int)
        ]
    return _table(("What", "Value"), rows)
