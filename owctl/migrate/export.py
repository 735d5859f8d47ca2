"""Exports tables: which ones, which of their columns, and files that appear all together."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from owctl.errors import UsageError
from owctl.migrate.export_form import Column, Format, Origin, Write, Written
from owctl.migrate.rejects import is_secret
from owctl.project.private_file import PrivateFile

OnTableRows = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A table to export: the columns that go along, the names of those that are left out."""

    table: str
    columns: tuple[Column, ...]
    left_out: tuple[str, ...] = ()


def choose(origin: Origin, names: Sequence[str], *, with_secrets: bool) -> list[Chosen]:
    """Return what is exported of the named tables; raises UsageError for one that is not there."""
    chosen = []
    for name in dict.fromkeys(names):
        columns = _columns(origin, name)
        secret = () if with_secrets else tuple(c for c in columns if is_secret(name, c.name))
        kept = tuple(column for column in columns if column not in secret)
        if not kept:
            raise UsageError(
                f"{name} has no columns but secret ones.",
                hint=f"owctl export {name} --with-secrets",
            )
        chosen.append(Chosen(name, kept, tuple(column.name for column in secret)))
    return chosen


def _columns(origin: Origin, name: str) -> tuple[Column, ...]:
    if name in origin.tables:
        return origin.tables[name]
    folded = {table.lower(): table for table in origin.tables}
    near = difflib.get_close_matches(name.lower(), folded, n=1)
    raise UsageError(
        f"There is no table {name} in {origin.name}.",
        hint=f"owctl export {folded[near[0]]}" if near else "owctl export --list",
    )


def paths_for(
    chosen: Sequence[Chosen], form: Format, output: Path, *, folder: bool
) -> dict[str, Path]:
    """Return the file of each table: ``output`` itself, or in the folder that it is."""
    if not folder:
        return {chosen[0].table: output}
    return {each.table: output / f"{_file_name(each.table)}.{form}" for each in chosen}


def _file_name(table: str) -> str:
    # No two tables come to the same name.
    return table.replace("%", "%25").replace("/", "%2F")


def refuse_existing(paths: Mapping[str, Path], *, force: bool) -> None:
    """Raise UsageError if a file is there; with ``force``, if something else than a file is."""
    there = [path for path in paths.values() if path.exists() or path.is_symlink()]
    # A rename over /dev/null would take it from everybody.
    special = [str(path) for path in there if path.is_symlink() or not path.is_file()]
    if special:
        raise UsageError(
            "What is there is no regular file, and was left as it is.",
            hint="another --output, or one table without it, which goes to stdout",
            details=special,
        )
    if there and not force:
        raise UsageError(
            "There are files of that name already, which were left as they are.",
            hint="--force, or --output with another folder",
            details=[str(path) for path in there],
        )


def export_to_files(
    origin: Origin,
    chosen: Sequence[Chosen],
    form: Format,
    paths: Mapping[str, Path],
    on_rows: OnTableRows = lambda *_: None,
    *,
    force: bool = False,
) -> dict[str, Written]:
    """Write the tables; the files (0600) get their names when all are whole, or none does.

    ``on_rows`` is told of a table how many of its rows there are so far, at first 0.
    Raises OwctlError; FileAppeared where a name was taken meanwhile and not ``force``.
    """
    written = {}
    with ExitStack() as stack:
        files = []
        for each in chosen:
            file = stack.enter_context(PrivateFile(paths[each.table]))
            written[each.table] = export_to(origin, each, form, file.write, on_rows)
            file.finish()
            files.append(file)
        for file in files:
            file.publish(overwrite=force)
    return written


def export_to(
    origin: Origin,
    chosen: Chosen,
    form: Format,
    write: Write,
    on_rows: OnTableRows = lambda *_: None,
) -> Written:
    """Hand one table to ``write``, piece by piece."""
    on_rows(chosen.table, 0)
    written = origin.write(
        chosen.table, chosen.columns, form, write, lambda rows: on_rows(chosen.table, rows)
    )
    on_rows(chosen.table, written.rows)
    return written
