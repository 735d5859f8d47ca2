"""Migrating 10,000 chats of 24 KB, against PostgreSQL's own COPY of the finished rows, and pgloader."""

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
# By its own defaults it runs out of memory on such rows, or of luck with the declared types: DATETIME
# columns that hold seconds, text that is JSON. So every column that needs it is cast by name.
_PGLOADER = """\
LOAD DATABASE FROM sqlite://{source} INTO postgresql://open_webui:{password}@127.0.0.1:{port}/open_webui
  WITH data only, include no drop, create no tables, create no indexes, no foreign keys,
       reset no sequences, batch rows = 100, batch size = 4MB, prefetch rows = 100
  SET default_toast_compression to 'lz4'
  CAST column chat.created_at to bigint drop typemod, column chat.updated_at to bigint drop typemod,
       column chat.chat to jsonb drop typemod, column chat.meta to jsonb drop typemod,
       column chat.archived to boolean drop typemod, column chat.pinned to boolean drop typemod
  INCLUDING ONLY TABLE NAMES LIKE 'chat';
"""
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
        ] + [
            bench.compare(
                "migrate",
                f"{CHATS:,} chats of {CHAT_BYTES // 1000} KB; {title}",
                (f"owctl migrate, {part}", "pgloader: explicit casts, 100 rows a batch, lz4"),
                (partial(_ours, stack, source, checks), partial(_pgloader, stack, source)),
                rounds=3,
                rival_rounds=2,
                budget=0.5,
            )
            for title, part, checks in (
                ("both convert them, nobody verifies", "its load alone", "unchecked"),
                ("both convert them, owctl also verifies", "load and checks", "checked"),
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


def _pgloader(stack: Stack, source: Path) -> Sample:
    _psql(stack, "TRUNCATE chat CASCADE")
    script = stack.folder / "pgloader.load"
    port, password = stack.ports["POSTGRES_PORT"], _password(stack)
    script.write_text(_PGLOADER.format(source=source, port=port, password=password))
    # A row that it cannot cast may make it wait for ever.
    sample = stack.timed("timeout", "900", "pgloader", "--root-dir", stack.folder, script)
    # It exits with 0, whatever it has lost.
    rows = _psql(stack, "SELECT count(*) FROM chat").strip()
    if rows != str(CHATS):
        raise CommandFailed(f"pgloader loaded {rows} of {CHATS} chats")
    return sample


def _psql(stack: Stack, statement: str) -> str:
    psql = ("psql", "-qAt", "-U", "open_webui", "-d", "open_webui", "-c", statement)
    return stack.output("docker", "exec", f"{stack.prefix}-postgres", *psql)


def _password(stack: Stack) -> str:
    for line in (stack.folder / ".env").read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "POSTGRES_PASSWORD":
            return value
    raise CommandFailed("the bench's project has no POSTGRES_PASSWORD")
