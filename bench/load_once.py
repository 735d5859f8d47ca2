"""Loads a database of the old backend once, and prints as JSON how long that took.

Usage: python -m bench.load_once HOST PORT USER DATABASE WEBUI_DB FOLDER checked|unchecked, with
PGPASSWORD set. ``seconds`` are those of the transaction, ``growth_bytes`` is the peak of memory above the
start. ``unchecked`` leaves out what the checks cost on both sides: rows are converted, sent and counted.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

from owctl.health.target import Address
from owctl.migrate.convert.column_map import Options
from owctl.migrate.convert.json_text import TreeReader
from owctl.migrate.load import load as loading
from owctl.migrate.load.load import LoadRequest, load
from owctl.migrate.load.target import Target, connect, look
from owctl.migrate.load.verify import SentRows
from owctl.migrate.source.database import open_source


def main() -> None:
    """Load and print."""
    host, port, user, database, path, folder, checks = sys.argv[1:]
    target = Target(Address(host, int(port)), user, database, "postgres", os.environ["PGPASSWORD"])
    if checks == "unchecked":
        _leave_checks_out()
    with connect(target) as connection, open_source(Path(path), private=True) as source:
        request = LoadRequest(
            source, Options(look(connection).columns), Path(folder), "bench", replace=True
        )
        before = _peak_bytes()
        began = time.perf_counter()
        result = load(connection, request)
        seconds = time.perf_counter() - began
    unaccounted = sum(t.source_rows - t.inserted - t.rejected for t in result.tables)
    found = {
        "seconds": seconds,
        "growth_bytes": _peak_bytes() - before,
        "unaccounted": unaccounted,
    }
    print(json.dumps(found))


def _leave_checks_out() -> None:
    """Count rows without hashing them, and ask the server for nothing. For measuring alone."""

    def count(sent: SentRows, _: object) -> None:
        sent.hasher.rows += 1

    setattr(SentRows, "add", count)  # noqa: B010  # mypy minds the plain form
    setattr(loading, "verify_table", lambda *_: None)  # noqa: B010
    setattr(TreeReader, "ordered", None)  # noqa: B010  # the order of keys is for the hashes alone


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
