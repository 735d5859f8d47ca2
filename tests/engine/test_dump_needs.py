"""What a dump needs to be loaded, and the server lacks: rows are all there, and the rest is named."""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from backup_project import Project

from owctl.backup.create.capture import BackupRequest, CreatedBackup
from owctl.backup.create.run import create_backup
from owctl.backup.drill import DrillReport, drill
from owctl.engine.archives import write_archive
from owctl.engine.connection import Engine
from owctl.engine.containers import inspect_container
from owctl.engine.execution import run
from owctl.errors import BackupInvalid, OwctlError
from owctl.postgres.load import Loaded, RowsRefused, count_rows, load_dump
from owctl.postgres.psql import Server
from owctl.progress import ignore

pytestmark = pytest.mark.engine
ENVIRONMENT = {"PGUSER": "web", "PGPASSWORD": "correct-horse-battery", "PGDATABASE": "chats"}
ROWS = {"public.user": 50, "public.chat": 2000, "public.file": 2, "public.words": 2}
NEEDS = """
CREATE EXTENSION unaccent;
CREATE FUNCTION f_unaccent(text) RETURNS text LANGUAGE sql IMMUTABLE
  AS $$ SELECT unaccent($1) $$;
CREATE INDEX chat_search ON chat (f_unaccent(id));
COMMENT ON INDEX chat_search IS 'kept';
CREATE TABLE words (word text, plain text GENERATED ALWAYS AS (f_unaccent(word)) STORED);
INSERT INTO words VALUES ('é'), ('ü');
CREATE FUNCTION loud() RETURNS trigger LANGUAGE plpgsql
  AS $$ BEGIN RAISE EXCEPTION 'not now'; END $$;
CREATE TRIGGER loud BEFORE INSERT ON words FOR EACH ROW EXECUTE FUNCTION loud();
CREATE FUNCTION no_ddl() RETURNS event_trigger LANGUAGE plpgsql
  AS $$ BEGIN RAISE EXCEPTION 'no more of that'; END $$;
CREATE MATERIALIZED VIEW found AS SELECT f_unaccent(word) AS word FROM words;
SELECT lo_from_bytea(4711, 'large');
CREATE ROLE grafana LOGIN; CREATE ROLE "the owner"; CREATE ROLE other;
ALTER TABLE chat ENABLE ROW LEVEL SECURITY;
CREATE POLICY readers ON chat FOR SELECT TO grafana, other USING (true);
GRANT SELECT ON chat TO grafana;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO grafana;
ALTER TABLE file OWNER TO "the owner";
CREATE EXTENSION postgres_fdw;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'nowhere');
CREATE USER MAPPING FOR grafana SERVER elsewhere OPTIONS (user 'x', password 'y');
CREATE PUBLICATION everything FOR ALL TABLES;
CREATE EVENT TRIGGER no_ddl ON ddl_command_start EXECUTE FUNCTION no_ddl();
"""
ROLES = ("grafana", "other", "the owner")


@pytest.fixture(scope="module")
def stack(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(engine, tmp_path_factory.mktemp("needs"))
    try:
        project.start_database()
        yield project
    finally:
        project.remove()


@pytest.fixture(scope="module")
def server(engine: Engine, stack: Project) -> Server:
    container = inspect_container(engine, stack.containers["postgres"])
    assert container is not None
    server = Server(engine, container, ENVIRONMENT)
    server.ask(NEEDS)
    return server


@pytest.fixture(scope="module")
def created(engine: Engine, stack: Project, server: Server) -> CreatedBackup:
    return create_backup(engine, stack.stack, BackupRequest(parts=frozenset({"db"})))


@pytest.fixture(scope="module")
def dump(server: Server) -> bytes:
    return dumped(server, "chats")


def dumped(server: Server, database: str) -> bytes:
    argv = ["pg_dump", "-Fc", "-Z0", database]
    answer = run(server.engine, server.container.id, argv, environment=ENVIRONMENT)
    assert answer.exit_code == 0, answer.stderr
    return answer.stdout


def load(server: Server, data: bytes) -> Loaded:
    server.ask("DROP DATABASE IF EXISTS empty; CREATE DATABASE empty TEMPLATE template0;")
    return load_dump(
        server.engine, server.container, ENVIRONMENT, "empty", lambda: [data], user="web"
    )


def counts(server: Server) -> dict[str, int]:
    return count_rows(server.engine, server.container, ENVIRONMENT, "empty")


def drilled(engine: Engine, project: Project, created: CreatedBackup) -> DrillReport:
    return drill(engine, project.name, created.path, created.manifest, ignore)


def test_everything_is_made_in_a_throwaway_server_that_has_none_of_the_roles(
    engine, stack, created
) -> None:
    report = drilled(engine, stack, created)
    assert report.problems == ()
    assert [each.in_words() for each in report.not_made] == []
    assert report.rows == sum(ROWS.values())


def test_what_a_load_brings_back(server: Server, dump: bytes) -> None:
    loaded = load(server, dump)
    assert (loaded.not_made, loaded.roles) == ((), ())
    assert counts(server) == ROWS
    seen = """
    SELECT obj_description('chat_search'::regclass), (SELECT count(*) FROM found),
      convert_from(lo_get(4711), 'UTF8'), pg_get_userbyid('file'::regclass::oid::regclass::oid) IS NULL,
      (SELECT tableowner FROM pg_tables WHERE tablename = 'file'),
      has_table_privilege('grafana', 'chat', 'SELECT'),
      (SELECT evtname FROM pg_event_trigger), (SELECT pubname FROM pg_publication),
      (SELECT usename FROM pg_user_mappings), (SELECT count(*) FROM pg_default_acl);
    """
    seen = seen.replace("pg_get_userbyid('file'::regclass::oid::regclass::oid) IS NULL,", "")
    row = ["kept", "2", "large", "the owner", "t", "no_ddl", "everything", "grafana", "1"]
    assert server.ask(seen, database="empty") == [row]
