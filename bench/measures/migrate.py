"""Migrating 10,000 chats of 24 KB, against PostgreSQL's own COPY of the finished rows."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

from bench.bench import Bench
from bench.results import Comparison
from bench.stack import ROOT, Stack
from bench.timing import CommandFailed, Sample
from tests.migrate_sources.builder import ADMIN, Builder

CHATS, CHAT_BYTES = 10_000, 24_000
MEMORY_LIMIT_BYTES = 64_000_000 + 4 * CHAT_BYTES
_READY = "/tmp/owctl-bench-chat.copy"  # in the container of the bench


def migrate(bench: Bench) -> list[Comparison]:
    """Compare the load, without and with its checks, with a COPY of the same rows by psql."""
    with bench.stack() as stack:
        stack.owctl("start")
        # Nobody else may write to the tables.
        stack.output("docker", "stop", f"{stack.prefix}-rust-backend")
        source = stack.folder / "webui.db"
        bench.tell(f"migrate: making {CHATS} chats")
        builder = Builder(source)
        builder.user(ADMIN, role="admin")
        builder.chats(CHATS, CHAT_BYTES)
        builder.close()
        _ours(stack, source, "checked")
        _psql(stack, f"COPY chat TO '{_READY}'")
        rival = "psql: COPY of the finished rows, lz4"
        return [
            bench.compare(
                "migrate",
                f"{CHATS:,} chats of {CHAT_BYTES // 1000} KB; {title}",
                (f"owctl migrate, {part}", rival),
                (partial(_ours, stack, source, checks), partial(_copy, stack)),
                rounds=3,
                budget=budget,
            )
            for title, part, checks, budget in (
                ("owctl also converts them", "its load alone", "unchecked", 1.25),
                ("owctl converts and verifies them", "load and checks", "checked", 2.0),
            )
        ]


def _ours(stack: Stack, source: Path, checks: str) -> Sample:
    # As for the rival: what the round before has left goes before the clock runs.
    _psql(stack, 'TRUNCATE "user" CASCADE')
    environment = {"PGPASSWORD": _password(stack), "PYTHONPATH": str(ROOT)}
    where = ("127.0.0.1", str(stack.ports["POSTGRES_PORT"]), "open_webui", "open_webui")
    done = subprocess.run(
        [sys.executable, "-m", "bench.load_once", *where, source, stack.folder, checks],
        env=stack.environment | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CommandFailed(f"the load exited with {done.returncode}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout)
    if found["unaccounted"]:
        raise CommandFailed(f"{found['unaccounted']} rows are unaccounted for")
    if found["growth_bytes"] > MEMORY_LIMIT_BYTES:
        raise CommandFailed(f"the load took {found['growth_bytes'] / 1e6:.0f} MB of memory")
    return Sample(found["seconds"], peak_bytes=found["growth_bytes"])


def _copy(stack: Stack) -> Sample:
    _psql(stack, "TRUNCATE chat CASCADE")
    return stack.timed(
        "docker", "exec", f"{stack.prefix}-postgres", "psql", "-q", "-U", "open_webui", "-c",
        "SET default_toast_compression = lz4", "-c", f"COPY chat FROM '{_READY}'",
    )  # fmt: skip


def _psql(stack: Stack, statement: str) -> None:
    psql = ("psql", "-q", "-U", "open_webui", "-d", "open_webui", "-c", statement)
    stack.output("docker", "exec", f"{stack.prefix}-postgres", *psql)


def _password(stack: Stack) -> str:
    for line in (stack.folder / ".env").read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "POSTGRES_PASSWORD":
            return value
    raise CommandFailed("the bench's project has no POSTGRES_PASSWORD")
