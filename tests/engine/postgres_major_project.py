"""A project on PostgreSQL 15 whose compose file takes its image from .env, to be upgraded."""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

from engine_helpers import wait_until

from owctl.compose.loader import load
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.execution import run
from owctl.settings import Flags, Settings
from owctl.upgrade.postgres.place import Journal
from tests.json_documents import check_output

# Not the demonstration's own, whose name goes to another image when that is built again.
OLD_IMAGE = "owctl-demo-postgres:15"
NEW_IMAGE = "owctl-demo-postgres:17"
COMPOSE = """
services:
  postgres:
    image: ${POSTGRES_IMAGE}
    init: true
    environment:
      POSTGRES_USER: web
      POSTGRES_DB: chats
      POSTGRES_PASSWORD: ${POSTGRES_PASSWORD}
      POSTGRES_INITDB_ARGS: --no-sync
    volumes: ["postgres_data:/var/lib/postgresql/data"]
  app:
    image: BASE_IMAGE
    init: true
    command: ["sleep", "3600"]
    depends_on: [postgres]
    stop_grace_period: 1s
volumes: {postgres_data: }
"""
SCHEMA = """
CREATE TABLE "user" (id text PRIMARY KEY, name text);
CREATE TABLE chat (
  id serial PRIMARY KEY, user_id text REFERENCES "user", chat jsonb NOT NULL,
  title text GENERATED ALWAYS AS (chat->>'title') STORED,
  at timestamptz DEFAULT now(), score float8, t int[]);
CREATE INDEX chat_title ON chat (title);
CREATE INDEX chat_content ON chat USING gin (chat);
CREATE VIEW titles AS SELECT title, count(*) FROM chat GROUP BY 1;
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE FUNCTION twice(i int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2';
CREATE EXTENSION pg_trgm;
CREATE EXTENSION unaccent;
CREATE FUNCTION f_unaccent(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT unaccent($1)';
CREATE INDEX user_search ON "user" (f_unaccent(name));
CREATE TABLE empty ();
INSERT INTO "user" SELECT i::text, E'two\\nlines\\\\. ' || i FROM generate_series(1, 50) i;
INSERT INTO chat (user_id, chat, score, t)
  SELECT (1 + i % 50)::text, jsonb_build_object('title', 't' || i, 'text', repeat(md5(i::text), 40)),
  random(), ARRAY[i, NULL] FROM generate_series(1, 2000) i;
SELECT lo_from_bytea(0, 'large');
CREATE ROLE reader LOGIN PASSWORD 'reader-password';
GRANT SELECT ON chat TO reader; ALTER ROLE reader SET work_mem = '8MB';
CREATE DATABASE "Other one" OWNER reader;
ALTER SYSTEM SET random_page_cost = 1.1;
"""
STATE = """
SELECT count(*), md5(string_agg(c::text, '' ORDER BY id)) FROM chat c;
SELECT last_value FROM chat_id_seq; SELECT convert_from(lo_get(oid), 'UTF8') FROM pg_largeobject_metadata;
SELECT count(*) FROM titles; SELECT twice(21); SELECT count(*) FROM pg_indexes WHERE tablename = 'chat';
"""


class Project:
    """The folder, and owctl called in it as a user does."""

    def __init__(self, engine: Engine, folder: Path, base_image: str) -> None:
        self.engine, self.folder = engine, folder
        self.name = f"owctl-test-{secrets.token_hex(4)}"
        text = f"name: {self.name}\n{COMPOSE}".replace("BASE_IMAGE", base_image)
        (folder / "compose.yaml").write_text(text)
        self.use(OLD_IMAGE)

    def use(self, image: str) -> None:
        """Name an image of PostgreSQL in .env, as a user does before an upgrade."""
        path = self.folder / ".env"
        path.write_text(f"POSTGRES_PASSWORD=correct-horse-battery\nPOSTGRES_IMAGE={image}\n")
        path.chmod(0o600)

    @property
    def stack(self) -> Stack:
        return load(Settings.load(Flags(project_dir=self.folder), {}, self.folder))

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("POSTGRES_")}
        return subprocess.Popen(
            [sys.executable, "-m", "owctl", "-C", str(self.folder), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def owctl(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Run owctl to its end and return what it wrote."""
        process = self.begin(*arguments)
        out, err = process.communicate(timeout=280)
        assert process.returncode == code, f"{arguments}: {process.returncode}\n{out}\n{err}"
        return out, err

    def upgrade(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        return self.owctl("upgrade", "--postgres-major", *arguments, code=code)

    def json(self, *arguments: str) -> dict:
        printed, _ = self.owctl(*arguments, "--json")
        check_output([*arguments, "--json"], printed)
        return json.loads(printed)

    def sql(self, statements: str, database: str = "chats", user: str = "web") -> str:
        argv = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", user, database]
        name = f"{self.name}-postgres-1"
        answer = run(self.engine, name, argv, stdin=statements.encode(), timeout_seconds=60)
        assert answer.exit_code == 0, answer.stderr.decode()
        return answer.stdout.decode().strip()

    def journal(self) -> Journal | None:
        return Journal.read(self.folder)

    def major(self) -> str:
        return self.sql("SHOW server_version_num;")[:2]

    def running(self) -> set[str]:
        """The services that run, by what the engine says."""
        rows = self.json("status")["services"]
        return {row["service"] for row in rows if row["state"] == "running"}

    def containers(self) -> list[str]:
        labels = [f"com.docker.compose.project={self.name}"]
        found = self.engine.api.containers(filters={"label": labels})
        return sorted(raw["Names"][0].lstrip("/") for raw in found)

    def volumes(self) -> list[str]:
        labels = {"label": f"com.docker.compose.project={self.name}"}
        return sorted(
            raw["Name"] for raw in self.engine.api.volumes(filters=labels)["Volumes"] or []
        )

    def data_folder(self) -> str:
        argv = ["ls", "-A", "/var/lib/postgresql/data"]
        return run(self.engine, f"{self.name}-postgres-1", argv).stdout.decode()

    def kill_at(self, phase: str, helper: str | None, *arguments: str) -> None:
        """Kill owctl once its journal says so, and a helper container of that name runs."""
        process = self.begin("upgrade", "--postgres-major", *arguments, "--yes")
        path = Journal.path(self.folder)

        def come() -> bool:
            assert process.poll() is None, process.communicate()
            if not (path.exists() and f'"phase": "{phase}"' in path.read_text()):
                return False
            return helper is None or f"{self.name}-owctl-upgrade-{helper}" in self.containers()

        # Without a pause: some phases are over in milliseconds.
        while not come():
            pass
        process.kill()
        process.communicate(timeout=60)

    def wait_until_nobody_serves(self) -> None:
        """What a killed owctl had started ends by itself."""
        servers = {f"{self.name}-owctl-upgrade-{role}" for role in ("old", "new")}
        wait_until(lambda: not servers & set(self.containers()), "no server is left", 60)
