"""Rows that were left out or changed, each with its reason, and the files that list them."""

import hashlib
import json
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

from owctl.errors import OwctlError
from owctl.migrate.convert.column_map import Reject
from owctl.migrate.convert.values import quoted
from owctl.migrate.source.database import Source, Unreadable
from owctl.project.private_file import PRIVATE_MODE, cannot, make_folder

# -- Makes the report's entry for a source row that gets no row of its own: key, reason, what it held.


# Values that let somebody in, or may hold such: they never leave the database for a report.
SECRET_COLUMNS = frozenset(
    (
        "password", "api_key", "key", "token", "oauth", "oauth_sub", "valves", "settings", "info",
        "variables",
    )
)  # fmt: skip
_SECRET_TABLES = {"config": ("data", "value"), "api_key": ("data",), "oauth_session": ("token",)}
# Columns of versions that are not known yet.
_SECRET_NAME = re.compile("password|secret|webhook_url|api_?key|private_key|_token$")
_KEY_COLUMNS = ("id", "command", "email", "tag_name", "name", "version_num")
_SHOWN_BYTES = 500
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")


def is_secret(table: str, column: str) -> bool:
    """Return whether a column lets somebody in, or may hold what does."""
    table, column = table.rpartition(".")[2].lower(), column.lower()
    # What migrations of the old backend leave behind is as secret as what it was made of.
    table = table.removeprefix("_alembic_tmp_").removesuffix("_old")
    return (
        column in SECRET_COLUMNS
        or column in _SECRET_TABLES.get(table, ())
        or _SECRET_NAME.search(column) is not None
    )


class Rejected(Exception):
    """A row that the target does not get; ``reason`` is a code, ``detail`` a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def make_reject(source: Source, table: str, rowid: int, reason: str, detail: str) -> Reject:
    """Return the reject of a source row: its key, and its values without secrets, shortened."""
    return _reject(table, rowid, _values(source, table, rowid), reason, detail)


def reject_all(
    source: Source, table: str, verdict: Callable[[int], tuple[str, str]]
) -> Iterator[Reject]:
    """Yield a reject for each row of a table; ``verdict`` gives reason and detail by rowid."""
    columns = _shown_columns(source, table)
    for row in source.rows(table, columns):
        if isinstance(row, Unreadable):
            detail = f"the row lies on a damaged page: {row.problem}"
            yield _reject(table, row.rowid, {}, "unreadable", detail)
            continue
        rowid, found = row
        yield _reject(
            table, rowid, dict(zip(columns, map(_shown, found), strict=True)), *verdict(rowid)
        )


def _reject(table: str, rowid: int, values: dict[str, object], reason: str, detail: str) -> Reject:
    key: dict[str, object] = {"rowid": rowid}
    for column in _KEY_COLUMNS:
        if values.get(column) is not None:
            key[column] = values[column]
            break
    return Reject(table, key, reason, detail, values)


def _shown_columns(source: Source, table: str) -> list[str]:
    return [column for column in source.columns[table] if not is_secret(table, column)]


def _values(source: Source, table: str, rowid: int) -> dict[str, object]:
    columns, number = _shown_columns(source, table), source.rowid_name(table)
    if not columns or number is None:
        return {}
    shown = ", ".join(
        f"CASE typeof({name}) WHEN 'text' THEN substr(CAST({name} AS BLOB), 1, {_SHOWN_BYTES + 1}) "
        f"WHEN 'blob' THEN substr({name}, 1, {_SHOWN_BYTES + 1}) ELSE {name} END"
        for name in map(quoted, columns)
    )
    try:
        rows = source.query(f"SELECT {shown} FROM {quoted(table)} WHERE {number} = ?", (rowid,))
    except (OwctlError, sqlite3.Error):
        return {}
    return dict(zip(columns, map(_shown, rows[0]), strict=True)) if rows else {}


def _shown(value: object) -> object:
    if not isinstance(value, bytes):
        return None if isinstance(value, float) and not _is_finite(value) else value
    text = (
        value[:_SHOWN_BYTES].decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    )
    return text + " …" if len(value) > _SHOWN_BYTES else text


def _is_finite(value: float) -> bool:
    return value == value and value not in (float("inf"), float("-inf"))


def to_json_line(reject: Reject) -> str:
    """Return the reject as one line of JSON, for the file beside the report."""
    line = json.dumps(
        {
            "table": reject.source_table,
            "key": dict(reject.key),
            "reason": reject.reason,
            "detail": reject.detail,
            "row": dict(reject.row),
        },
        ensure_ascii=False,
    )
    # Some programs take these for the end of a line.
    return _LINE_ENDS.sub(lambda end: f"\\u{ord(end[0]):04x}", line)


def account_document(row: Mapping[str, object], reason: str, detail: str) -> dict[str, object]:
    """Return an account that stays behind, for the report; ``row`` are its values as shown."""
    named = {name: None if row.get(name) is None else str(row[name]) for name in ("id", "email")}
    return {**named, "reason": reason, "detail": detail}


# -- The rows that stay behind, each with its reason: one file of JSON lines a source table.


FOLDER_NAME = "rejects"
_FIRST_EXAMPLES = 5
_LONGEST_NAME = 150


class RejectFile:
    """The rejects of one table; the file appears with the first of them, mode 0600.

    ``counts`` is by reason, ``examples`` the first few. Opening it again begins anew. Without a
    folder they are only counted.
    """

    def __init__(self, folder: Path | None, table: str) -> None:
        self.path = folder / _file_name(table) if folder is not None else None
        self.table = table
        self.counts: Counter[str] = Counter()
        self.merged = 0
        self.examples: list[Reject] = []
        self._file: IO[str] | None = None

    @property
    def total(self) -> int:
        """How many there are."""
        return self.counts.total()

    def add(self, reject: Reject) -> None:
        """Write one. Raises OwctlError where the disk does not take it."""
        self.counts[reject.reason] += 1
        self.merged += reject.merged
        if len(self.examples) < _FIRST_EXAMPLES:
            self.examples.append(reject)
        if self.path is None:
            return
        try:
            if self._file is None:
                self._file = _open(self.path)
            self._file.write(to_json_line(reject) + "\n")
        except OSError as error:
            raise cannot("write", self.path, error) from error

    def __enter__(self) -> Self:
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as problem:
                if error is None and self.path is not None:
                    raise cannot("write", self.path, problem) from problem


def rejected_accounts(folder: Path) -> list[dict[str, object]]:
    """Return the accounts among the rejects that a load has written to ``folder``."""
    path = folder / _file_name("user")
    try:
        lines = path.read_text("utf-8").split("\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise cannot("read", path, error) from error
    found = [json.loads(line) for line in lines if line]
    return [account_document(each["row"], each["reason"], each["detail"]) for each in found]


def _file_name(table: str) -> str:
    """Return a name that no other table's file has, whatever the table is called."""
    name = quote(table, safe="")
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}-{hashlib.sha256(table.encode()).hexdigest()[:12]}"
    return f"{name}.jsonl"


def _open(path: Path) -> IO[str]:
    make_folder(path.parent, 0o700)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, PRIVATE_MODE)
    return os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")
