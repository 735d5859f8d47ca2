"""What a dump needs to be loaded, and the server lacks: rows are all there, and the rest is named."""

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from backup_project import Project

from owctl.backup.catalogue import look_at
from owctl.backup.create.capture import BackupRequest, CreatedBackup
from owctl.backup.create.run import create_backup
from owctl.backup.drill import DrillReport, drill
from owctl.backup.restore.plan import RestoreRequest, plan_restore
from owctl.backup.restore.run import RestoreOutcome, run_restore, undo_restore
from owctl.backup.restore.source import BackupSource
from owctl.engine.archives import write_archive
from owctl.engine.connection import Engine
from owctl.engine.containers import inspect_container
from owctl.engine.execution import run
from owctl.postgres.load import Loaded, RowsRefused, count_rows, load_dump
from owctl.postgres.psql import Server
from owctl.postgres.swap import DatabaseNames, DatabaseSwap
from owctl.progress import ignore
from tests.json_documents import check_output

pytestmark = pytest.mark.engine
OWCTL = Path(sys.executable).parent / "owctl"
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


@contextmanager
def restored(engine: Engine, project: Project, created: CreatedBackup) -> Iterator[RestoreOutcome]:
    """Restore a backup for the while."""
    request = RestoreRequest(
        parts=frozenset({"db"}), safety_backup=False, start=False, timeout_seconds=60
    )
    plan = plan_restore(engine, project.stack, BackupSource(look_at(created.path)), request)
    outcome = run_restore(engine, project.stack, plan, request)
    try:
        yield outcome
    finally:
        undo_restore(engine, project.stack, outcome.journal, timeout_seconds=60)


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
      convert_from(lo_get(4711), 'UTF8'),
      (SELECT tableowner FROM pg_tables WHERE tablename = 'file'),
      has_table_privilege('grafana', 'chat', 'SELECT'),
      (SELECT evtname FROM pg_event_trigger), (SELECT pubname FROM pg_publication),
      (SELECT usename FROM pg_user_mappings), (SELECT count(*) FROM pg_default_acl);
    """
    row = ["kept", "2", "large", "the owner", "t", "no_ddl", "everything", "grafana", "1"]
    assert server.ask(seen, database="empty") == [row]


def test_what_cannot_be_made_is_named_with_what_to_do(server: Server) -> None:
    server.ask("DROP DATABASE IF EXISTS odd; CREATE DATABASE odd;")
    server.ask(
        """
        CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int REFERENCES parent);
        INSERT INTO parent VALUES (1), (2);
        SET session_replication_role = replica; INSERT INTO child VALUES (3);
        SET session_replication_role = origin;
        CREATE FUNCTION picky(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
          IF current_setting('app.mood', true) IS DISTINCT FROM 'good' THEN
            RAISE EXCEPTION 'not in the mood'; END IF; RETURN $1; END $$;
        SET app.mood = 'good'; CREATE INDEX picky_one ON parent (picky(id));
        COMMENT ON INDEX picky_one IS 'goes with it';
        CREATE SUBSCRIPTION news CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false);
        """,
        database="odd",
    )
    loaded = load(server, dumped(server, "odd"))
    assert counts(server) == {"public.parent": 2, "public.child": 1}
    found = {(each.kind, each.name): each for each in loaded.not_made}
    assert list(found) == [
        ("index", "public.picky_one"),
        ("comment", "public.INDEX picky_one"),
        ("fk constraint", "public.child child_id_fkey"),
        ("subscription", "news"),
    ]
    index, _, key, subscription = found.values()
    assert "CREATE SUBSCRIPTION news" in subscription.hint
    assert index.reason == "not in the mood"
    assert index.hint.endswith(
        "CREATE INDEX picky_one ON public.parent USING btree (public.picky(id));"
    )
    assert "Key (id)=(3) is not present" in key.reason
    assert "correct those" in key.hint
    assert "ADD CONSTRAINT" in key.hint
    # PostgreSQL does not drop a database with a subscription.
    DatabaseSwap(server, DatabaseNames("postgres", "chats", "odd", "none")).drop_staged()


def test_rows_that_cannot_be_loaded_stay_an_error(server: Server) -> None:
    server.ask("DROP DATABASE IF EXISTS odd; CREATE DATABASE odd;")
    server.ask(
        "CREATE TABLE fine (id int); CREATE TABLE aged (id int CHECK (id < 10));"
        "INSERT INTO fine VALUES (1); INSERT INTO aged VALUES (5);",
        database="odd",
    )
    # As a check that was true when the row was written.
    data = dumped(server, "odd").replace(b"id < 10", b"id < 01")
    with pytest.raises(RowsRefused, match="rows are missing") as caught:
        load(server, data)
    assert "table data public.aged" in caught.value.details[0]


def test_settings_of_the_role_and_the_database_do_not_cut_a_dump_or_a_load_short(
    engine, stack, server: Server
) -> None:
    hasty = {
        "statement_timeout": "1ms",
        "lock_timeout": "1ms",
        "idle_in_transaction_session_timeout": "1ms",
        "default_transaction_read_only": "on",
        "search_path": "nowhere",
    }
    for name, value in hasty.items():
        server.ask(
            f"ALTER ROLE web SET {name} = '{value}'; ALTER DATABASE chats SET {name} = '{value}';"
        )
    try:
        made = create_backup(engine, stack.stack, BackupRequest(parts=frozenset({"db"})))
        (member,) = made.manifest.members
        assert (member.detail["rows"], member.detail["search_path"]) == (ROWS, "nowhere")
        with restored(engine, stack, made) as outcome:
            assert (outcome.rows, outcome.not_made) == (ROWS, ())
            assert server.ask("SHOW search_path;") == [["nowhere"]]
    finally:
        server.ask("ALTER ROLE web RESET ALL; ALTER DATABASE chats RESET ALL;")


def test_the_databases_own_properties_come_back(engine, stack, server: Server) -> None:
    of_its_own = """
    SELECT datconnlimit, pg_get_userbyid(datdba), shobj_description(oid, 'pg_database'),
      datlocprovider, daticulocale, pg_encoding_to_char(encoding), (SELECT string_agg(s, ' ')
      FROM pg_db_role_setting, unnest(setconfig) s WHERE setdatabase = d.oid), datacl IS NULL
    FROM pg_database d WHERE datname = 'chats';
    """
    other = "CREATE DATABASE chats TEMPLATE template0 "
    away = "ALTER DATABASE chats RENAME TO away;"
    icu = f"{other} LOCALE_PROVIDER icu ICU_LOCALE 'de-DE' LOCALE 'C.UTF-8' CONNECTION LIMIT 7;"
    server.ask(away + icu, database="postgres")
    try:
        server.ask(
            "ALTER DATABASE chats SET work_mem = '9MB'; COMMENT ON DATABASE chats IS 'it''s ours';"
            'ALTER DATABASE chats OWNER TO "the owner"; CREATE TABLE t (a text);'
            "REVOKE CONNECT ON DATABASE chats FROM PUBLIC;"
        )
        before = server.ask(of_its_own)
        made = create_backup(engine, stack.stack, BackupRequest(parts=frozenset({"db"})))
        # As on a new server, where nothing was set.
        server.ask(f"DROP DATABASE chats; {other};", database="postgres")
        assert server.ask(of_its_own) != before
        with restored(engine, stack, made):
            assert server.ask(of_its_own) == before
    finally:
        server.ask("DROP DATABASE chats; ALTER DATABASE away RENAME TO chats;", database="postgres")


# An extension that insists on the name of its database, and has rows of its own, as pg_cron.

CONTROL = "comment = 'insists'\ndefault_version = '1.0'\n"
SCRIPT = """
DO $$ BEGIN IF current_database() <> 'chats' THEN
  RAISE EXCEPTION 'can only create extension in database chats'; END IF; END $$;
CREATE SCHEMA cron; CREATE TABLE cron.job (id serial, cmd text);
SELECT pg_catalog.pg_extension_config_dump('cron.job', '');
"""


@pytest.fixture(scope="module")
def with_extension(engine: Engine, stack: Project, server: Server) -> CreatedBackup:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in (("insists.control", CONTROL), ("insists--1.0.sql", SCRIPT)):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    folder = "/usr/share/postgresql/15/extension"
    write_archive(engine, server.container.id, folder, buffer.getvalue())
    server.ask(
        "DROP EVENT TRIGGER no_ddl; CREATE EXTENSION insists; INSERT INTO cron.job (cmd) VALUES ('x');"
    )
    return create_backup(engine, stack.stack, BackupRequest(parts=frozenset({"db"})))


def test_an_extension_that_the_drills_image_lacks_is_not_the_backups_fault(
    engine, stack, with_extension
) -> None:
    arguments = ["backup", "verify", with_extension.path.name, "--drill", "--json"]
    process = subprocess.run(
        [OWCTL, "-C", stack.folder, "-p", stack.name, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    check_output(arguments, process.stdout)
    (backup,) = json.loads(process.stdout)["backups"]
    assert (backup["status"], backup["drill"]["rows"]) == ("ok", sum(ROWS.values()))
    extension, _comment, rows = backup["drill"]["not_made"]
    assert (extension["kind"], extension["name"]) == ("extension", "insists")
    assert "an image of PostgreSQL that has the extension" in extension["hint"]
    assert (rows["kind"], rows["name"]) == ("table data", "cron.job")
    assert "The extension insists was not made" in process.stderr
    assert "Try: " in process.stderr


def test_an_extension_that_insists_on_the_databases_name_is_made_in_the_drill(
    engine, stack, server, with_extension
) -> None:
    image = engine.api.commit(server.container.id)["Id"]
    try:
        services = {"postgres": {"image_id": image}}
        manifest = replace(with_extension.manifest, services=services)
        report = drill(engine, stack.name, with_extension.path, manifest, ignore)
        assert (report.problems, report.not_made) == ((), ())
    finally:
        engine.api.remove_image(image, force=True)


def test_and_in_a_restore_as_soon_as_the_database_has_its_name(
    engine, stack, server, with_extension
) -> None:
    server.ask("INSERT INTO cron.job (cmd) VALUES ('later');")
    with restored(engine, stack, with_extension) as outcome:
        assert outcome.not_made == ()
        assert server.ask("SELECT cmd FROM cron.job;") == [["x"]]
        left = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'owctl%';"
        assert server.ask(left) == []
    assert server.ask("SELECT count(*) FROM cron.job;") == [["2"]]
