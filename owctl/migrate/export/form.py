"""The form of an export: CSV or JSON lines, without the secrets, written as whole files."""

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from owctl.errors import UsageError
from owctl.migrate.convert.json_text import JsonUnusable, clean_json
from owctl.migrate.convert.values import Raw, clean_text
from owctl.migrate.report.rejects import is_secret
from owctl.project.private_file import PrivateFile

# -- The two forms of an export: CSV as RFC 4180 has it, and JSON lines, from values or as psql sends them.


Format = Literal["csv", "jsonl"]
Kind = Literal["plain", "json", "boolean"]
Write = Callable[[bytes], None]
OnRows = Callable[[int], None]
_MUST_QUOTE = re.compile(rb'[",\r\n]')
# In rows of JSON psql quotes with this: JSON never holds it, as control characters are escaped.
JSON_QUOTE = b"\x01"
JSON_DELIMITER = b"\x02"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: ``json`` holds JSON as text, ``boolean`` 0 and 1."""

    name: str
    kind: Kind = "plain"


@dataclass(slots=True)
class Written:
    """What became of a table: rows written, rows on damaged pages, values mended by column."""

    rows: int = 0
    unreadable: int = 0
    mended: dict[str, int] = field(default_factory=dict)


class Origin(Protocol):
    """A database that tables are exported from."""

    @property
    def name(self) -> str:
        """What the database is called in messages."""

    @property
    def tables(self) -> dict[str, tuple[Column, ...]]:
        """The columns by table."""

    def count_rows(self) -> dict[str, int]:
        """Return how many rows each table has."""

    def write(
        self,
        table: str,
        columns: tuple[Column, ...],
        form: Format,
        write: Write,
        on_rows: OnRows = lambda _: None,
    ) -> Written:
        """Hand a table to ``write``, piece by piece; raises OwctlError.

        ``on_rows`` is told how many rows there are so far.
        """


def csv_line(values: list[bytes | None]) -> bytes:
    """Return a record; NULL is nothing at all, an empty text is two quotes."""
    return b",".join(map(_csv_field, values)) + b"\r\n"


def _csv_field(value: bytes | None) -> bytes:
    if value is None:
        return b""
    if not value or _MUST_QUOTE.search(value):
        return b'"' + value.replace(b'"', b'""') + b'"'
    return value


def csv_value(raw: Raw) -> tuple[bytes | None, bool]:
    """Return a value as UTF-8 without NUL, and whether it had to be changed for that."""
    value, changes = clean_text(raw)
    return value, bool(changes)


def json_value(raw: Raw, kind: Kind) -> tuple[bytes, bool]:
    """Return a value as JSON on one line, and whether it had to be changed for that."""
    if raw is None:
        return b"null", False
    if kind == "json":
        try:
            value, changes = clean_json(raw)
        except JsonUnusable:
            return _json_plain(raw)[0], True
        # In valid JSON these stand between its tokens only.
        text = (value or b"null").replace(b"\n", b" ").replace(b"\r", b" ")
        return text, not set(changes) <= {"null-text"}
    if kind == "boolean" and raw in (0, 1):
        return (b"true" if raw else b"false"), False
    return _json_plain(raw)


def _json_plain(raw: Raw) -> tuple[bytes, bool]:
    if isinstance(raw, bytes):
        text, changes = clean_text(raw)
        return json.dumps((text or b"").decode(), ensure_ascii=False).encode(), bool(changes)
    if isinstance(raw, float) and (raw != raw or raw in (float("inf"), float("-inf"))):
        return json.dumps(str(raw)).encode(), False
    return json.dumps(raw).encode(), False


class PsqlLines:
    """Makes the form's lines of what psql's ``COPY … (FORMAT csv)`` writes, and counts them.

    Its lines end with a line feed alone, and a quoted value may hold some, too. For JSON, what is
    quoted has line breaks between tokens (a column of type ``json`` is kept as it was typed).
    """

    def __init__(self, form: Format) -> None:
        self.lines = 0
        self._form = form
        self._quote = b'"' if form == "csv" else JSON_QUOTE
        self._inside = False

    def feed(self, data: bytes) -> bytes:
        """Return what the next piece becomes."""
        parts = data.split(self._quote)
        for number, part in enumerate(parts):
            if number:
                self._inside = not self._inside
            parts[number] = self._converted(part)
        return (b'"' if self._form == "csv" else b"").join(parts)

    def _converted(self, part: bytes) -> bytes:
        if self._inside:
            if self._form == "csv":
                return part
            return part.replace(b"\n", b" ").replace(b"\r", b" ")
        self.lines += part.count(b"\n")
        return part.replace(b"\n", b"\r\n") if self._form == "csv" else part


# -- Exports tables: which ones, which of their columns, and files that appear all together.


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
