"""Loads a database of the old backend once, and prints as JSON how long that took.

Usage: python -m bench.load_once HOST PORT USER DATABASE WEBUI_DB FOLDER, with PGPASSWORD set. Seconds
are those of the transaction: ``load_seconds`` until the last row of the largest table was taken,
``seconds`` with the checks and the commit. ``growth_bytes`` is the peak of memory above the start.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

from owctl.health.target import Address
from owctl.migrate.events import MigrationEvent, TableProgress
from owctl.migrate.load import LoadRequest, load
from owctl.migrate.model import Options
from owctl.migrate.source import open_source
from owctl.migrate.target import Target, connect, look

LARGEST_TABLE = "chat"


def main() -> None:
    """Load and print."""
    host, port, user, database, path, folder = sys.argv[1:]
    target = Target(Address(host, int(port)), user, database, "postgres", os.environ["PGPASSWORD"])
    moments: dict[str, float] = {}

    def receive(event: MigrationEvent) -> None:
        if isinstance(event, TableProgress) and event.table == LARGEST_TABLE:
            moments.setdefault(event.stage, time.perf_counter())

    with connect(target) as connection, open_source(Path(path), private=True) as source:
        request = LoadRequest(
            source, Options(look(connection).columns), Path(folder), "bench", replace=True
        )
        before = _peak_bytes()
        began = time.perf_counter()
        result = load(connection, request, receive)
        seconds = time.perf_counter() - began
    unaccounted = sum(t.source_rows - t.inserted - t.rejected for t in result.tables)
    found = {
        "load_seconds": moments["verifying"] - began,
        "seconds": seconds,
        "growth_bytes": _peak_bytes() - before,
        "unaccounted": unaccounted,
    }
    print(json.dumps(found))


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
