"""The rows that stay behind, each with its reason: one file of JSON lines a source table."""

import hashlib
import os
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

from owctl.migrate.model import Reject
from owctl.migrate.rejects import to_json_line
from owctl.project.private_file import PRIVATE_MODE, cannot

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


def _file_name(table: str) -> str:
    """Return a name that no other table's file has, whatever the table is called."""
    name = quote(table, safe="")
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}-{hashlib.sha256(table.encode()).hexdigest()[:12]}"
    return f"{name}.jsonl"


def _open(path: Path) -> IO[str]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, PRIVATE_MODE)
    return os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")
