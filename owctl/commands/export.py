"""``owctl export``: parse, call the migrate room, render."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from owctl.commands.completers import complete_file
from owctl.commands.options import examples, pass_context
from owctl.commands.progress import rows_and_rate
from owctl.context import Context
from owctl.errors import OwctlError, ReaderGone, UsageError

if TYPE_CHECKING:
    from owctl.migrate.export.form import Chosen, Format, OnTableRows, Origin, Written

_FAILED = 1

_EXAMPLES = examples(
    "owctl export --list",
    "owctl export user > users.csv",
    "owctl export chat message --format jsonl --output exported/",
    "owctl export chat --from webui.db",
)


@click.command(epilog=_EXAMPLES)
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "jsonl"]),
    default="csv",
    show_default=True,
    help="A record a line, or a JSON object a line.",
)
@click.option(
    "--output",
    metavar="FILE|DIR",
    shell_complete=complete_file,
    help="Where to.  [default: one table to stdout, more to files here]",
)
@click.option(
    "--from",
    "from_file",
    metavar="FILE",
    shell_complete=complete_file,
    help="From a Python backend's webui.db.",
)
@click.option("--from-container", metavar="NAME", help="From the one of that container.")
@click.option("--with-secrets", is_flag=True, help="Passwords, keys and tokens, too.")
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
@click.option("--list", "only_list", is_flag=True, help="Show the tables, with their rows.")
@click.option("--json", "as_json", is_flag=True, help="With --list: as one document.")
@pass_context
def export(
    context: Context,
    /,
    tables: tuple[str, ...],
    form: "Format",
    output: str | None,
    from_file: str | None,
    from_container: str | None,
    only_list: bool,
    as_json: bool,
    **how: bool,
) -> int:
    """Write tables as CSV or JSON lines, without the secrets.

    All tables are of one moment. They come from the stack's PostgreSQL, or from the SQLite
    database of a Python backend. Files are readable by you alone, and appear when all are whole.
    """
    _check(tables, from_file, from_container, only_list=only_list, as_json=as_json)
    with _open(context, from_file, from_container) as origin:
        if only_list:
            _list(context, origin, as_json=as_json)
            return 0
        from owctl.migrate.export.form import choose, export_to_files

        chosen = choose(origin, tables, with_secrets=how["with_secrets"])
        to_stdout = len(chosen) == 1 and output is None
        for each in chosen:
            if each.left_out:
                context.console.info(
                    f"{each.table}: without {', '.join(each.left_out)} (see --with-secrets)"
                )
        with _display(context, origin, chosen, to_stdout=to_stdout) as tell:
            if to_stdout:
                written = {chosen[0].table: _to_stdout(origin, chosen[0], form, tell)}
            else:
                paths = _paths(context, chosen, form, output, force=how["force"])
                written = export_to_files(origin, chosen, form, paths, tell, force=how["force"])
        if not to_stdout:
            _name_files(context, written, paths)
    return _tell(context, written)


def _check(
    tables: tuple[str, ...],
    from_file: str | None,
    from_container: str | None,
    *,
    only_list: bool,
    as_json: bool,
) -> None:
    if from_file and from_container:
        raise UsageError("--from and --from-container exclude each other.", hint="one of them")
    if as_json and not only_list:
        raise UsageError("--json goes with --list.", hint="owctl export TABLE --format jsonl")
    if bool(tables) == only_list:
        raise UsageError(
            "--list takes no tables." if tables else "Which tables?", hint="owctl export --list"
        )


def _open(
    context: Context, from_file: str | None, from_container: str | None
) -> "AbstractContextManager[Origin]":
    if from_file is not None:
        from owctl.migrate.export.sqlite import open_file

        return open_file(context.working_dir / from_file)
    if from_container is not None:
        from owctl.migrate.export.sqlite import open_container

        return open_container(context.engine, from_container)
    from owctl.migrate.export.postgres import PostgresOrigin, find_postgres

    return PostgresOrigin(find_postgres(context.engine, context.stack))


def _list(context: Context, origin: "Origin", *, as_json: bool) -> None:
    from owctl.ui.table import Column

    rows = origin.count_rows()
    if as_json:
        listed: list[dict[str, Any]] = [{"table": name, "rows": rows[name]} for name in rows]
        context.console.document(_project(context), tables=listed)
        return
    shown = [(name, f"{count:,}") for name, count in rows.items()]
    context.console.table([Column("TABLE"), Column("ROWS", right=True)], shown)


def _project(context: Context) -> str | None:
    """Return the project's name, None where there is none: a file can be read anywhere."""
    try:
        return context.stack.project
    except OwctlError:
        return None


def _to_stdout(
    origin: "Origin", chosen: "Chosen", form: "Format", tell: "OnTableRows"
) -> "Written":
    from owctl.migrate.export.form import export_to

    descriptor = sys.stdout.fileno()

    def write(data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except BrokenPipeError as error:
            raise ReaderGone from error
        except OSError as error:
            raise OwctlError(
                f"Cannot write to stdout: {error.strerror}",
                hint="--output FILE, where there is room",
            ) from error

    return export_to(origin, chosen, form, write, tell)


@contextmanager
def _display(
    context: Context, origin: "Origin", chosen: "list[Chosen]", *, to_stdout: bool
) -> "Iterator[OnTableRows]":
    """Yield what is told how far a table is: rows and rate on a terminal, else a line a table."""
    shows_rows = to_stdout and sys.stdout.isatty()
    if context.console.quiet or shows_rows or not sys.stderr.isatty():

        def say(table: str, rows: int) -> None:
            if not rows and not to_stdout:
                context.console.info(f"{table} …")

        yield say
        return
    totals = origin.count_rows()
    began: dict[str, float] = {}
    texts: dict[str, str] = {}
    with context.console.progress("Exporting") as progress:
        for each in chosen:
            progress.update(each.table, "waiting", f"{totals[each.table]:,} rows")

        def show(table: str, rows: int) -> None:
            since = began.setdefault(table, time.monotonic())
            texts[table] = rows_and_rate(rows, totals[table], since)
            progress.update(table, "working", texts[table])

        yield show
        for table, text in texts.items():
            progress.update(table, "done", text)


def _paths(
    context: Context,
    chosen: "list[Chosen]",
    form: "Format",
    output: str | None,
    *,
    force: bool,
) -> dict[str, Path]:
    from owctl.migrate.export.form import paths_for, refuse_existing

    target = context.working_dir / (output or "")
    folder = len(chosen) > 1 or target.is_dir() or (output or "").endswith("/")
    paths = paths_for(chosen, form, target, folder=folder)
    refuse_existing(paths, force=force)
    return paths


def _name_files(context: Context, written: "dict[str, Written]", paths: dict[str, Path]) -> None:
    for table, result in written.items():
        shown = _shown(paths[table], context.working_dir)
        context.console.result(
            str(shown) if context.console.quiet else f"{shown}: {result.rows:,} rows"
        )


def _shown(path: Path, folder: Path) -> Path:
    return path.relative_to(folder) if path.is_relative_to(folder) else path


def _tell(context: Context, written: "dict[str, Written]") -> int:
    """Say what is not as it was stored; rows that could not be read make it a failure."""
    for table, result in written.items():
        for column, count in result.mended.items():
            context.console.warn(
                f"{table}.{column}: {count:,} values were mended (NUL, no UTF-8, no or double JSON)"
            )
        if result.unreadable:
            context.console.warn(
                f"{table}: {result.unreadable:,} rows are on damaged pages, and are missing"
            )
    return _FAILED if any(result.unreadable for result in written.values()) else 0
