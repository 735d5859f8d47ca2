"""``owctl history``: who changed the project, when, and how it ended."""

import click

from owctl.commands.options import examples, format_option, pass_context
from owctl.context import Context

STYLES = {"done": "green", "failed": "red", "interrupted": "yellow"}

_EXAMPLES = examples(
    "owctl history",
    "owctl history --tail 5 --json",
)


@click.command(epilog=_EXAMPLES)
@click.option(
    "--tail",
    "count",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="N",
    help="The last N entries.",
)
@format_option("table", "json")
@pass_context
def history(context: Context, count: int, output_format: str) -> None:
    """Show who changed the project, when, and how it ended.

    The entries are in .owctl/history.jsonl in the project's folder, oldest first.
    """
    from owctl.project.history import read
    from owctl.ui.table import Cell, Column

    entries = read(context.settings.project_dir)[-count:]
    if output_format == "json":
        project = context.stack.project
        context.console.document(project, entries=entries)
        return
    if not entries:
        context.console.info("Nothing has been changed here by owctl yet.")
        return
    context.console.table(
        [
            Column("TIME (UTC)"),
            Column("USER"),
            Column("OUTCOME"),
            Column("TOOK", right=True),
            Column("COMMAND", narrow="fold"),
        ],
        [
            [
                str(entry["time"])[:19].replace("T", " "),
                str(entry.get("sudo_user") or entry["user"]),
                Cell(_outcome(entry), STYLES.get(str(entry["outcome"]), "")),
                f"{int(str(entry['duration_ms'])) / 1000:.1f} s",
                "owctl " + " ".join(map(str, _list(entry["arguments"]))),
            ]
            for entry in entries
        ],
    )


def _outcome(entry: dict[str, object]) -> str:
    code = entry["exit_code"]
    return f"{entry['outcome']} ({code})" if code else str(entry["outcome"])


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]
