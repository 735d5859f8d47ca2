"""Which database is the application's: another one of the server, a second server, one of an inactive profile."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from backup_project import DATABASE, IMAGES, LABEL, SCHEMA, VOLUMES, Project
from docker.errors import NotFound
from engine_helpers import wait_until

from owctl.backup.catalogue import look_at
from owctl.backup.create.run import BackupRequest, CreatedBackup, create_backup, foresee
from owctl.backup.manifest import Part
from owctl.backup.restore.plan import RestoreRequest, plan_restore
from owctl.backup.restore.run import finish_restore, run_restore
from owctl.backup.restore.source import BackupSource
from owctl.commands.backup.list import describe
from owctl.compose.model import Mount, Probe, Stack, Volume
from owctl.doctor.data import check_data
from owctl.doctor.finding import Situation
from owctl.engine.connection import Engine
from owctl.engine.containers import (
    create_container,
    inspect_container,
    list_containers,
    remove_container,
    start_container,
)
from owctl.engine.execution import run
from owctl.errors import OwctlError
from owctl.health.deep.checks import run_deep_checks
from owctl.health.result import ServiceHealth
from owctl.postgres.login import matches
from owctl.postgres.place import find_server

pytestmark = pytest.mark.engine
PASSWORD = "p/a@ss word"
URL = "postgresql+asyncpg://app:p%2Fa%40ss%20word@{}:5432/appdb"
MAKE = """
CREATE ROLE app LOGIN PASSWORD 'p/a@ss word'; CREATE ROLE reader NOLOGIN;
CREATE DATABASE appdb OWNER app;
"""
OWNED = f"SET ROLE app; {SCHEMA} CREATE SCHEMA app; GRANT SELECT ON chat TO reader;"


@pytest.fixture(scope="module")
def server(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    found = Project(engine, tmp_path_factory.mktemp("folder"))
    try:
        found.start("postgres")
        found.wait_for_database()
        yield found
    finally:
        found.remove()


@pytest.fixture
def project(server: Project) -> Iterator[Project]:
    """The project with an empty server; what a test made beside it is removed."""
    yield server
    for container in server.engine.api.containers(
        all=True, filters={"label": f"{LABEL}project={server.name}"}
    ):
        if container["Id"] != server.containers["postgres"]:
            server.engine.api.remove_container(container["Id"], force=True)
    with suppress(NotFound):
        server.engine.api.remove_volume(f"{server.name}_archive_data")
    server.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP DATABASE IF EXISTS appdb;")
    server.sql("DROP ROLE IF EXISTS app; DROP ROLE IF EXISTS reader;")


def with_url(stack: Stack, host: str = "postgres") -> Stack:
    backend = replace(
        stack.services["rust-backend"], environment={"DATABASE_URL": URL.format(host)}
    )
    return replace(stack, services={**stack.services, "rust-backend": backend})


def sql(project: Project, statements: str, service: str = "postgres", **variables: str) -> str:
    """Run statements in ``appdb``, as the server's own user unless told otherwise."""
    settings = {"PGUSER": "web", "PGDATABASE": "appdb", **variables}
    argv = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"]
    answer = run(
        project.engine,
        project.containers[service],
        argv,
        environment=settings,
        stdin=statements.encode(),
    )
    assert answer.exit_code == 0, answer.stderr.decode()
    return answer.stdout.decode().strip()


def back_up(project: Project, stack: Stack, *parts: Part, quiesce: bool = False) -> CreatedBackup:
    request = BackupRequest(parts=frozenset(parts), quiesce=quiesce)
    return create_backup(project.engine, stack, request)


def restore(project: Project, stack: Stack, backup: CreatedBackup, *parts: Part) -> dict[str, int]:
    request = RestoreRequest(parts=frozenset(parts), safety_backup=False, timeout_seconds=60)
    source = BackupSource(look_at(backup.path))
    plan = plan_restore(project.engine, stack, source, request)
    outcome = run_restore(project.engine, stack, plan, request)
    finish_restore(project.engine, stack, outcome.journal, timeout_seconds=60)
    return outcome.rows


def test_the_database_of_the_url_comes_back_to_its_owner_on_an_empty_server(
    project: Project,
) -> None:
    stack = with_url(project.stack)
    project.sql(MAKE + "CREATE TABLE further (id int);")
    sql(project, OWNED)
    backup = back_up(project, stack, "db")
    (dump,) = backup.manifest.members
    assert (dump.detail["database"], dump.detail["rows"]["public.user"]) == ("appdb", 50)
    containers = list_containers(project.engine, project.name)
    (seen,) = check_data(Situation(project.engine, stack, tuple(containers)))
    assert seen.detail == "in PostgreSQL: 50 accounts, 2000 chats"
    row = ServiceHealth("postgres", containers[0].name, None, None, "healthy", None, None, 1.0, "")
    (login,) = run_deep_checks(project.engine, stack, containers, [row], timeout_seconds=20)
    assert (login.status, login.detail.split(", ")[-1]) == ("healthy", "3 tables")
    # What the server has beside it is no part of the backup, and it says so.
    assert [(each["kind"], each["name"]) for each in backup.manifest.stack["lacks"]] == [
        ("database", "chats")
    ]
    cleaning = clean_with_backup(project)
    assert cleaning.returncode == 1
    assert "lacks appdb, which would go" in cleaning.stderr
    project.sql("DROP DATABASE appdb; DROP ROLE app; DROP ROLE reader;")

    assert restore(project, stack, backup, "db")["public.chat"] == 2000

    address = "SELECT 'owner ' || pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'appdb';"
    assert sql(project, address) == "owner app"
    verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app' AND rolcanlogin;"
    assert matches(sql(project, verifier), "app", PASSWORD)
    migrate = (
        'ALTER TABLE "user" ADD COLUMN email text; DELETE FROM chat; SELECT count(*) FROM chat;'
    )
    assert sql(project, migrate, PGUSER="app") == "0"
    assert sql(project, "SET ROLE reader; SELECT count(*) FROM chat;") == "0"
    assert project.sql("SELECT count(*) FROM further") == "0"


def test_a_database_that_is_not_there_yet_is_said(project: Project) -> None:
    stack = with_url(project.stack)
    server = find_server(project.engine, stack)
    assert not server.has_database()
    with pytest.raises(OwctlError, match="postgres has no database appdb, which the stack names"):
        back_up(project, stack, "db")
    project.sql(MAKE)
    assert server.has_database()


def clean_with_backup(project: Project) -> "subprocess.CompletedProcess[str]":
    """Run ``owctl clean --backup``, for which the files name no DATABASE_URL."""
    words = ["-C", str(project.folder), "-p", project.name, "clean", "--backup", "--adopt", "--yes"]
    return subprocess.run(
        [sys.executable, "-m", "owctl", *words], capture_output=True, text=True, check=False
    )


def test_what_belonged_to_the_first_role_belongs_to_the_one_of_another_server(
    engine: Engine, project: Project, tmp_path: Path
) -> None:
    project.sql(
        'CREATE ROLE app; CREATE TABLE "user" (id int); CREATE TABLE chat (id int);'
        "ALTER TABLE chat OWNER TO app;"
    )
    backup = back_up(project, project.stack, "db")
    given = {**DATABASE, "POSTGRES_USER": "boss"}
    (tmp_path / "other").mkdir()
    other = Project(engine, tmp_path / "other")
    try:
        other.start("postgres", {"Env": [f"{name}={value}" for name, value in given.items()]})
        wait_until(lambda: is_ready(other), "PostgreSQL is ready", timeout_seconds=60)
        restore(other, other.stack, backup, "db")
        owners = "SELECT tablename || ' ' || tableowner FROM pg_tables WHERE schemaname = 'public'"
        login = {"PGUSER": "boss", "PGDATABASE": "chats"}
        assert set(sql(other, f"{owners};", **login).splitlines()) == {"chat app", "user boss"}
        assert sql(other, "SELECT count(*) FROM pg_roles WHERE rolname = 'web';", **login) == "0"
    finally:
        other.remove()


def is_ready(project: Project, service: str = "postgres") -> bool:
    argv = ["pg_isready", "-q", "-h", "127.0.0.1"]
    return run(project.engine, project.containers[service], argv).exit_code == 0


def with_second(project: Project, stack: Stack, **changes: object) -> Stack:
    """Start a second PostgreSQL beside the first, and return the stack with it in front."""
    service, key = "archive", "archive_data"
    project.volume(key)
    mount = {"Type": "volume", "Source": f"{project.name}_{key}", "Target": VOLUMES["postgres"][1]}
    labels = {"project": project.name, "service": service, "oneoff": "False"}
    body = {
        "Image": IMAGES["postgres"],
        "Env": [f"{name}={value}" for name, value in DATABASE.items()],
        "Labels": {LABEL + name: value for name, value in labels.items()},
        "HostConfig": {"NetworkMode": "none", "Mounts": [mount]},
        **changes,
    }
    container = create_container(project.engine, f"{project.name}-{service}-1", body)
    start_container(project.engine, container)
    project.containers[service] = container
    wait_until(lambda: is_ready(project, service), "PostgreSQL is ready", timeout_seconds=60)
    second = replace(
        stack.services["postgres"],
        name=service,
        container_name=f"{project.name}-{service}-1",
        mounts=(Mount("volume", VOLUMES["postgres"][1], key),),
    )
    volumes = {**stack.volumes, key: Volume(key, f"{project.name}_{key}")}
    return replace(stack, services={service: second, **stack.services}, volumes=volumes)


def members_of(backup: CreatedBackup) -> set[str]:
    return {member.name for member in backup.manifest.members}


def test_what_the_backend_runs_with_is_backed_up_and_a_difference_is_told(
    project: Project,
) -> None:
    project.sql(MAKE)
    sql(project, OWNED)
    url = "DATABASE_URL=" + URL.format("postgres")
    project.start("rust-backend", {"Env": [url]})
    backup = back_up(project, project.stack, "db")
    (dump,) = backup.manifest.members
    assert dump.detail["database"] == "appdb"
    assert any("another DATABASE_URL" in text for text in backup.manifest.warnings)


def test_another_server_is_never_copied_while_it_runs(project: Project) -> None:
    """The one that DATABASE_URL names is dumped; the other is left out, or copied standing still."""
    stack = with_second(project, with_url(project.stack))
    project.sql(MAKE)
    sql(project, OWNED)
    sql(project, "CREATE TABLE kept AS SELECT 7 AS n;", "archive", PGDATABASE="chats")

    hot = back_up(project, stack, "db", "files")
    assert members_of(hot) == {"postgres.dump.zst", "volumes/rust_backend_data.tar.zst"}
    assert hot.manifest.members[0].detail["database"] == "appdb"
    assert [each["name"] for each in hot.manifest.stack["lacks"]] == ["archive_data"]
    assert describe(look_at(hot.path))["lacks"] == hot.manifest.stack["lacks"]
    request = BackupRequest(parts=frozenset({"db", "files"}))
    assert any("archive_data out" in line for line in foresee(project.engine, stack, request))

    cold = back_up(project, stack, "db", "files", quiesce=True)
    assert members_of(cold) - members_of(hot) == {"volumes/archive_data.tar.zst"}
    assert (cold.manifest.stack["lacks"], cold.manifest.stack["quiesced"]) == ([], ["archive"])
    # Without a network the wait for it ends as soon as its container runs.
    wait_until(lambda: is_ready(project, "archive"), "it is ready again", timeout_seconds=60)
    sql(project, "DROP TABLE kept;", "archive", PGDATABASE="chats")
    restore(project, stack, cold, "files")
    wait_until(lambda: is_ready(project, "archive"), "it is ready again", timeout_seconds=60)
    assert sql(project, "SELECT n FROM kept;", "archive", PGDATABASE="chats") == "7"


def test_a_server_that_nothing_declares_is_told_by_its_files(project: Project) -> None:
    """No image's name, no variable and no service says what the volume holds."""
    start = f"PGDATA={VOLUMES['postgres'][1]} exec docker-entrypoint.sh postgres"
    hidden = {
        "Env": [*(f"{name}={value}" for name, value in DATABASE.items()), "PGDATA="],
        "Entrypoint": ["sh", "-c", start],
    }
    stack = with_second(project, project.stack, **hidden)
    unknown = replace(stack.services["archive"], image="example/unknown", probe=Probe("none"))
    stack = replace(stack, services={**stack.services, "archive": unknown})
    backup = back_up(project, stack, "files")
    assert members_of(backup) == {"volumes/rust_backend_data.tar.zst"}
    assert not (backup.path / "volumes/archive_data.tar.zst").exists()
    assert [each["name"] for each in backup.manifest.stack["lacks"]] == ["archive_data"]


def test_a_database_of_an_inactive_profile_is_never_taken_for_files(
    project: Project,
) -> None:
    project.sql(SCHEMA)
    services = dict(project.stack.services)
    database = replace(services.pop("postgres"), spec={"profiles": ["db"]})
    volumes = dict(project.stack.volumes)
    stack = replace(
        project.stack,
        services=services,
        volumes={key: each for key, each in volumes.items() if key != "postgres_data"},
        inactive_services={"postgres": database},
        inactive_volumes={"postgres_data": volumes["postgres_data"]},
    )
    with pytest.raises(OwctlError) as caught:
        back_up(project, stack, "db", "files")
    assert "--profile db" in str(caught.value.hint)
    backup = back_up(project, stack, "files")
    assert members_of(backup) == {"volumes/rust_backend_data.tar.zst"}


def test_a_database_elsewhere_is_named_and_all_else_is_backed_up(project: Project) -> None:
    stack = with_url(project.stack, "db.example.org")
    backup = back_up(project, stack, "db", "files", "redis", "config")
    found = look_at(backup.path)
    assert (found.is_verified, found.parts) == (True, ("files", "redis", "config"))
    # The server here is one that the application does not use; it runs, so it is not copied.
    lacks = [(each["kind"], each["name"]) for each in found.lacks]
    assert lacks == [("external", "db.example.org"), ("volume", "postgres_data")]
    (seen,) = check_data(Situation(project.engine, stack))
    assert (seen.status, "db.example.org" in seen.detail) == ("warning", True)
    with pytest.raises(OwctlError) as caught:
        back_up(project, stack, "db", "files")
    assert "names db.example.org" in caught.value.message


def test_who_mounts_what_is_swapped_stands_still_meanwhile_or_is_named(
    engine: Engine, project: Project
) -> None:
    """A service of an inactive profile, and one of no service: started again; a foreign one: refused."""
    backup = back_up(project, project.stack, "files")
    services = dict(project.stack.services)
    worker = replace(services["rust-backend"], name="worker", container_name=None, depends_on=())
    stack = replace(project.stack, inactive_services={"worker": worker})
    own = mounting(project, "worker", project=project.name)
    loose = mounting(project, "gone", project=project.name)
    started = {each: inspect_container(engine, each).started_at for each in (own, loose)}
    restore(project, stack, backup, "files")
    for each, before in started.items():
        now = inspect_container(engine, each)
        assert now.is_running
        assert now.started_at != before
    foreign = mounting(project, "theirs", project="somebody")
    try:
        with pytest.raises(OwctlError) as caught:
            restore(project, stack, backup, "files")
    finally:
        remove_container(engine, foreign, force=True)
    assert f"{project.name}-theirs-1 (project somebody)" in caught.value.message


def mounting(place: Project, service: str, **labels: str) -> str:
    """Start a container that mounts the backend's volume."""
    key, target = VOLUMES["rust-backend"]
    labels = {"service": service, "oneoff": "False", "container-number": "1", **labels}
    mount = {"Type": "volume", "Source": f"{place.name}_{key}", "Target": target}
    body = {
        "Image": IMAGES["redis"],
        "Entrypoint": ["sleep", "3600"],
        "Labels": {LABEL + name: value for name, value in labels.items()},
        "HostConfig": {"NetworkMode": "none", "Mounts": [mount], "Init": True},
    }
    container = create_container(place.engine, f"{place.name}-{service}-1", body)
    start_container(place.engine, container)
    return container
