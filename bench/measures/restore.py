"""Restoring a database of some size."""

import json
from pathlib import Path

from bench.bench import Bench
from bench.measures.backup import FULL_MB, MODERATE_MB, fill
from bench.results import Comparison
from bench.stack import OWCTL, RIVAL, Stack
from bench.timing import Sample

DUMP = "postgres.dump.zst"


def restore(bench: Bench) -> list[Comparison]:
    """Compare a restore, from the first check to services that answer, with pg_restore alone."""
    database_mb, files_mb = FULL_MB if bench.full else MODERATE_MB
    with bench.stack() as stack:
        stack.owctl("start")
        fill(stack, database_mb, files_mb)
        made = json.loads(stack.output(OWCTL, "backup", "--json"))
        dump = Path(made["path"]) / DUMP
        command = ("restore", made["id"], "--yes", "--no-safety-backup", "--only", "db")
        return [
            bench.compare(
                "restore",
                f"{database_mb} MB of database; owctl verifies, counts every row, swaps, restarts",
                (f"owctl {' '.join(command)}", "zstd -d | pg_restore --single-transaction"),
                (lambda: _ours(stack, *command), lambda: _by_hand(stack, dump)),
                rounds=3,
                budget=1.2,
            )
        ]


def _ours(stack: Stack, *command: str) -> Sample:
    sample = stack.owctl(*command)
    stack.owctl("restore", "undo", "--yes")
    return sample


def _by_hand(stack: Stack, dump: Path) -> Sample:
    return stack.timed(RIVAL / "restore.sh", stack.prefix, dump)
