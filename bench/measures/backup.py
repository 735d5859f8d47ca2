"""Backing up a database and files of some size."""

import shutil
import tempfile
from pathlib import Path

from bench.bench import Bench
from bench.results import Comparison
from bench.stack import RIVAL, Stack
from bench.timing import Sample

MODERATE_MB = (200, 100)
FULL_MB = (400, 300)
# A row of 1,000 hexadecimal digits and its number; compresses by half, as text does.
FILL = """\
CREATE TABLE bench_filling (id int PRIMARY KEY, body text NOT NULL);
ALTER TABLE bench_filling ALTER body SET STORAGE EXTERNAL;
INSERT INTO bench_filling SELECT row, (SELECT string_agg(md5((row * 32 + part)::text), '')
FROM generate_series(1, 32) part) FROM generate_series(1, {rows}) row;
"""
BYTES_PER_ROW = 1024
FILE_MB = 1


def backup(bench: Bench) -> list[Comparison]:
    """Compare a backup with plain pipes, read back and not, and with pipes that are read back, too."""
    database_mb, files_mb = FULL_MB if bench.full else MODERATE_MB
    with bench.stack() as stack:
        stack.owctl("start")
        fill(stack, database_mb, files_mb)
        size = f"{database_mb} MB of database, {files_mb} MB of files"
        return [
            bench.compare(
                "backup",
                f"{size}; owctl reads its backup back, the pipes do not",
                ("owctl backup", "pg_dump | zstd, then tar | zstd"),
                (lambda: _ours(stack), lambda: _pipes(stack)),
                rounds=3,
                budget=1.3,
                watched=(stack, ["backup"]),
            ),
            bench.compare(
                "backup",
                f"{size}; nobody reads back",
                ("owctl backup --no-verify", "pg_dump | zstd, then tar | zstd"),
                (lambda: _ours(stack, "--no-verify"), lambda: _pipes(stack)),
                rounds=3,
                budget=1.15,
                watched=(stack, ["backup", "--no-verify"]),
            ),
            bench.compare(
                "backup",
                f"{size}; both read back",
                ("owctl backup", "the pipes, then sha256sum, pg_restore -l and tar -t"),
                (lambda: _ours(stack), lambda: _pipes(stack, "check")),
                rounds=3,
                budget=1.15,
                watched=(stack, ["backup"]),
            ),
        ]


def _ours(stack: Stack, *options: str) -> Sample:
    sample = stack.owctl("backup", *options)
    shutil.rmtree(stack.folder / "backups")
    return sample


def _pipes(stack: Stack, *check: str) -> Sample:
    with tempfile.TemporaryDirectory(dir=stack.folder) as folder:
        return stack.timed(RIVAL / "backup.sh", stack.prefix, Path(folder), *check)


def fill(stack: Stack, database_mb: int, files_mb: int) -> None:
    """Give the stack a table and files of these sizes."""
    rows = database_mb * 1_000_000 // BYTES_PER_ROW
    psql = ("psql", "-q", "-U", "open_webui", "-d", "open_webui", "-c", FILL.format(rows=rows))
    stack.output("docker", "exec", f"{stack.prefix}-postgres", *psql)
    write = (
        "mkdir -p /app/data/uploads && cd /app/data/uploads && "
        f"for n in $(seq {files_mb // FILE_MB}); do "
        "head -c 750000 /dev/urandom | base64 -w 0 >bench-$n; done"
    )
    stack.output("docker", "exec", f"{stack.prefix}-rust-backend", "sh", "-c", write)
