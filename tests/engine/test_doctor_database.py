"""Password, version and place of the data, with a real PostgreSQL: running, stopped, volume only."""

import io
import sqlite3
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from backup_project import DATABASE, VOLUMES, Project
from engine_helpers import wait_until

from owctl.compose.model import Service, Stack
from owctl.doctor.data import check_data
from owctl.doctor.database import check_database
from owctl.doctor.examine import preflight
from owctl.doctor.finding import Finding, look
from owctl.engine.archives import write_archive
from owctl.engine.containers import remove_container, stop_container
from owctl.engine.execution import run
from owctl.errors import OwctlError
from owctl.postgres.login import sync_password
from owctl.volumes.one_off import HELPER_LABEL

pytestmark = pytest.mark.engine
NEW = 'it\'s a new "one" \\ $HOME grüße'


@pytest.fixture
def place(engine, tmp_path) -> Iterator[Project]:
    made = Project(engine, tmp_path)
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def running(engine, tmp_path_factory) -> Iterator[Project]:
    """A database that tests share: they may change its password, and leave it running."""
    made = Project(engine, tmp_path_factory.mktemp("running"))
    try:
        made.start_database("SELECT 1")
        yield made
    finally:
        made.remove()


def stack_of(place: Project, password: str = DATABASE["POSTGRES_PASSWORD"], **more: str) -> Stack:
    """The project's stack with the variables that its files give the services."""
    stack = place.stack
    services = dict(stack.services)
    environment = {**DATABASE, "POSTGRES_PASSWORD": password, **more}
    services["postgres"] = replace(services["postgres"], environment=environment)
    address = f"postgresql://web:{password}@postgres/chats"
    services["rust-backend"] = replace(
        services["rust-backend"], environment={"DATABASE_URL": address}
    )
    return replace(stack, services=services)


def password_finding(place: Project, stack: Stack, **options: object) -> Finding:
    found = check_database(look(place.engine, stack), **options)
    return next(finding for finding in found if finding.check == "password")


def version_finding(place: Project, stack: Stack) -> Finding:
    found = check_database(look(place.engine, stack))
    return next(finding for finding in found if finding.check == "postgres-version")


def stopped(place: Project) -> None:
    stop_container(place.engine, place.containers["postgres"], 30)


def removed(place: Project) -> None:
    stopped(place)
    remove_container(place.engine, place.containers["postgres"])


@pytest.mark.parametrize("bring_to", [lambda _: None, stopped, removed])
def test_the_password_against_the_volume_in_every_state(place, bring_to):
    place.start_database("SELECT 1")
    bring_to(place)
    good, bad = stack_of(place), stack_of(place, "Wrong-horse-battery")

    assert password_finding(place, good).status == "ok"
    found = password_finding(place, bad)
    assert found.status == "failed"
    assert f"volume {place.name}_postgres_data does not accept POSTGRES_PASSWORD" in found.detail
    assert "owctl setup --sync-password" in (found.hint or "")
    assert "Wrong-horse" not in f"{found.detail}{found.hint}"

    with pytest.raises(OwctlError, match="does not accept") as caught:
        preflight(look(place.engine, bad), ["rust-backend"], place.folder)
    assert "--ignore password" in caught.value.details[-1]
    # The database itself may be started: that is the way to the repair.
    warned = preflight(look(place.engine, bad), ["postgres"], place.folder)
    assert [f.check for f in warned] == ["password"]
    assert preflight(look(place.engine, bad), ["redis"], place.folder) == ()
    ignored = preflight(
        look(place.engine, bad), ["rust-backend"], place.folder, ignore=["password"]
    )
    assert ignored == ()
    labels = {"label": [HELPER_LABEL, f"com.docker.compose.project={place.name}"]}
    assert place.engine.api.containers(all=True, filters=labels) == []


def test_a_volume_that_is_new_or_empty_takes_any_password(place):
    place.start("redis")  # gives the helper an image
    assert password_finding(place, stack_of(place)).status == "ok"
    place.engine.api.remove_volume(f"{place.name}_postgres_data")
    assert password_finding(place, stack_of(place)).detail == "there is no database yet"


def test_a_password_that_was_changed_is_the_one_that_counts(place):
    place.start_database("SELECT 1")
    new = stack_of(place, NEW)
    assert sync_password(place.engine, new, new.services["postgres"]) == "changed"
    assert password_finding(place, new).status == "ok"
    removed(place)
    assert password_finding(place, new).status == "ok"
    assert password_finding(place, stack_of(place)).status == "failed"


def test_a_crashed_server_may_know_better_so_it_is_only_a_warning(place):
    place.start_database("SELECT 1")
    place.engine.api.kill(place.containers["postgres"])
    place.engine.api.wait(place.containers["postgres"])
    found = password_finding(place, stack_of(place, "Wrong-horse-battery"))
    assert found.status == "warning"
    assert "not shut down in order" in found.detail


def test_another_user_is_not_a_wrong_password(place):
    place.start_database("SELECT 1")
    stopped(place)
    found = password_finding(place, stack_of(place, POSTGRES_USER="somebody"))
    assert found.status == "warning"
    assert "no password of somebody, only of web" in found.detail


def test_sync_says_what_it_would_do_and_does_it_once(running):
    new = stack_of(running, NEW)
    service = new.services["postgres"]
    assert sync_password(running.engine, new, service, dry_run=True) == "would change"
    assert password_finding(running, new).status == "failed"
    assert sync_password(running.engine, new, service) == "changed"
    assert sync_password(running.engine, new, service) == "unchanged"


def test_sync_keeps_the_password_out_of_the_servers_log(running):
    running.sql("ALTER SYSTEM SET log_statement = 'all'")
    running.sql("SELECT pg_reload_conf()")
    wait_until(lambda: running.sql("SHOW log_statement") == "all", "the log has everything")
    new = stack_of(running, "Look-for-me-in-the-log")
    sync_password(running.engine, new, new.services["postgres"])
    log = running.engine.api.logs(running.containers["postgres"]).decode()
    assert "ALTER ROLE" in log
    assert "Look-for-me" not in log


def test_sync_needs_a_running_database(place):
    new = stack_of(place, NEW)
    with pytest.raises(OwctlError, match="does not exist") as caught:
        sync_password(place.engine, new, new.services["postgres"])
    assert "owctl start postgres" in (caught.value.hint or "")
    place.start_database("SELECT 1")
    stopped(place)
    with pytest.raises(OwctlError, match="is exited"):
        sync_password(place.engine, new, new.services["postgres"])


def lock_the_local_socket(place: Project) -> None:
    script = 'sed -i "s/^local.*trust/local all all scram-sha-256/" "$PGDATA/pg_hba.conf"'
    assert run(place.engine, place.containers["postgres"], ["sh", "-c", script]).exit_code == 0
    place.sql("SELECT pg_reload_conf()")

    def asks() -> bool:
        argv = ["psql", "-w", "-U", "web", "-c", "", "chats"]
        return run(place.engine, place.containers["postgres"], argv).exit_code != 0

    wait_until(asks, "the local socket asks for a password")


def test_sync_where_the_local_socket_asks_for_a_password(place):
    place.start_database("SELECT 1")
    lock_the_local_socket(place)
    new = stack_of(place, NEW)
    # The container knows the old one.
    assert sync_password(place.engine, new, new.services["postgres"]) == "changed"
    third = stack_of(place, "Third-one-is-refused")
    with pytest.raises(OwctlError, match="asks for the old one even on its local socket") as caught:
        sync_password(place.engine, third, third.services["postgres"])
    assert "put the old password back" in (caught.value.hint or "")


def test_sync_for_a_user_that_the_database_does_not_know(running):
    new = stack_of(running, NEW, POSTGRES_USER="somebody")
    with pytest.raises(OwctlError, match="has no user somebody"):
        sync_password(running.engine, new, new.services["postgres"])


def overwrite(place: Project, name: str, content: bytes) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    folder = VOLUMES["postgres"][1]
    write_archive(place.engine, place.containers["postgres"], folder, buffer.getvalue())


@pytest.mark.parametrize("bring_to", [stopped, removed])
def test_a_volume_of_another_major_version(place, bring_to):
    place.start_database("SELECT 1")
    assert version_finding(place, stack_of(place)).status == "ok"
    stopped(place)
    overwrite(place, "PG_VERSION", b"14\n")
    bring_to(place)
    found = version_finding(place, stack_of(place))
    assert found.status == "failed"
    assert "PostgreSQL 14" in found.detail
    assert "PostgreSQL 15" in found.detail
    assert "POSTGRES_IMAGE" in (found.hint or "")
    with pytest.raises(OwctlError, match="PostgreSQL 14"):
        preflight(look(place.engine, stack_of(place)), ["postgres"], place.folder)


def test_an_image_of_another_major_is_refused_before_it_is_pulled(running):
    stack = stack_of(running)
    newer = replace(stack.services["postgres"], image="postgres:17-alpine")
    newer_stack = replace(stack, services={**stack.services, "postgres": newer})
    found = version_finding(running, newer_stack)
    assert found.status == "failed"
    assert "postgres:17-alpine is PostgreSQL 17" in found.detail


def sqlite_bytes(folder: Path) -> bytes:
    path = folder / "made.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE chat (id text)")
    connection.commit()
    connection.close()
    return path.read_bytes()


def data_finding(place: Project) -> Finding:
    (found,) = check_data(look(place.engine, stack_of(place)))
    return found


def test_where_the_data_is(place, tmp_path):
    place.start_database("SELECT 1")
    place.start("rust-backend")
    assert data_finding(place).detail == "no accounts and no chats yet"

    place.put("rust-backend", "/app/data", {"notes.db": b"no database", "empty.db": b""})
    assert data_finding(place).status == "ok"

    place.put("rust-backend", "/app/data", {"own name.db": sqlite_bytes(tmp_path)})
    found = data_finding(place)
    assert (found.status, found.subject) == ("warning", "rust-backend")
    assert f"/app/data/own name.db of rust-backend (volume {place.name}_rust" in found.detail
    assert "PostgreSQL has no application data" in found.detail

    place.sql('CREATE TABLE "user" (id int); INSERT INTO "user" VALUES (1), (2);')
    found = data_finding(place)
    assert (found.status, found.subject) == ("warning", "rust-backend")
    assert "PostgreSQL has data too (2 accounts, 0 chats)" in found.detail


def test_where_the_data_is_when_nothing_runs(place, tmp_path):
    place.start("rust-backend")
    assert data_finding(place).status == "skipped"
    place.put("rust-backend", "/app/data", {"webui.db": sqlite_bytes(tmp_path)})
    stop_container(place.engine, place.containers["rust-backend"], 0)
    found = data_finding(place)
    assert found.status == "warning"
    assert "webui.db" in found.detail
    assert "cannot be asked now" in found.detail


def test_accounts_are_counted(place):
    place.start_database()
    assert data_finding(place).detail == "in PostgreSQL: 50 accounts, 2000 chats"


def test_a_stack_without_postgres(place, engine, make_stack, sleeper):
    stack = make_stack(Service("web", image="web"))
    assert {f.status for f in check_database(look(engine, stack))} == {"skipped"}
