"""The database to another major version of PostgreSQL: all of it, or as it was before."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from conftest import ROOT, remove_everything
from engine_helpers import wait_until
from postgres_major_project import NEW_IMAGE, OLD_IMAGE, SCHEMA, STATE, Project

from owctl.engine.connection import Engine
from owctl.engine.execution import run
from owctl.errors import OwctlError, ServiceFailed
from owctl.upgrade.postgres import plan as upgrade_plan
from owctl.upgrade.postgres import run as upgrade_run
from owctl.upgrade.postgres.plan import UpgradeRequest, plan_upgrade
from owctl.upgrade.postgres.run import upgrade_postgres

REQUEST = UpgradeRequest(120)
# What scripts/postgres-image ends with where the Debian release cannot be had.
NO_RELEASE = 3
# The first run on a machine makes a Debian image and installs PostgreSQL 17 in it.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def new_image(engine: Engine) -> str:
    for major, image in (("15", OLD_IMAGE), ("17", NEW_IMAGE)):
        made = subprocess.run(
            [ROOT / "scripts" / "postgres-image", major],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode == NO_RELEASE:
            pytest.skip(f"Debian's PostgreSQL {major} cannot be had: {made.stderr[-500:]}")
        assert made.stdout.split() == [image], made.stderr
    return NEW_IMAGE


@pytest.fixture(scope="module")
def stack(
    engine: Engine, base_image: str, new_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    project = Project(engine, tmp_path_factory.mktemp("folder"), base_image)
    try:
        project.owctl("start")
        project.sql(SCHEMA)
        project.before = project.sql(STATE)
        yield project
    finally:
        remove_everything(engine, project.name)


@pytest.fixture
def project(stack: Project) -> Iterator[Project]:
    """PostgreSQL 15 runs, and .env names 17; undone afterwards, whatever a test began."""
    stack.use(NEW_IMAGE)
    yield stack
    if stack.journal() is not None:
        stack.upgrade("undo", "--yes")
    assert_as_before(stack)


def assert_as_before(project: Project) -> None:
    assert project.major() == "15"
    assert project.sql(STATE) == project.before
    assert project.running() == {"postgres", "app"}
    assert project.journal() is None
    assert project.volumes() == [f"{project.name}_postgres_data"]
    assert project.containers() == [f"{project.name}-app-1", f"{project.name}-postgres-1"]
    assert ".owctl-postgres" not in project.data_folder()


def plan(project: Project) -> upgrade_plan.UpgradePlan:
    return plan_upgrade(project.engine, project.stack, REQUEST)


@contextmanager
def made(project: Project, statement: str, undo: str) -> Iterator[None]:
    project.sql(statement)
    try:
        yield
    finally:
        project.sql(undo)


def test_there_and_back(project: Project) -> None:
    """Killed in the swap and resumed: everything works on 17. Killed on the way back: it is as before."""
    project.kill_at("swapping", None)
    assert "was interrupted" in project.owctl("start", code=1)[1]
    project.upgrade("resume")
    assert project.major() == "17"
    assert project.sql(STATE) == project.before
    assert project.sql("SHOW random_page_cost;") == "1.1"
    assert project.sql("SELECT count(*) FROM pg_stats WHERE schemaname = 'public'") != "0"
    assert project.sql("SELECT current_user", "Other one", "reader") == "reader"
    assert project.running() == {"postgres", "app"}
    assert project.volumes() == [f"{project.name}_postgres_data"]
    works_on_17(project)

    # The next id is the next one, and the generated column is generated.
    project.sql("""INSERT INTO chat (chat) VALUES ('{"title": "new"}')""")
    assert project.sql("SELECT id, title FROM chat ORDER BY id DESC LIMIT 1") == "2001|new"
    _, refusal = project.upgrade("--yes", code=1)
    assert "is not finished yet" in refusal
    assert "owctl upgrade --postgres-major finish" in refusal
    assert "in place: finish, or undo" in project.upgrade("status")[0]

    project.kill_at("undoing", None, "undo")
    out, _ = project.upgrade("resume")
    assert "is undone" in out


def works_on_17(project: Project) -> None:
    """Backup, drill and restore on the new major."""
    backup = project.json("backup", "--only", "db")
    assert backup["verified"]
    project.owctl("backup", "verify", backup["id"], "--drill")
    project.sql("DELETE FROM chat WHERE id < 1000")
    project.owctl("restore", backup["id"], "--yes", "--no-safety-backup")
    assert project.sql(STATE) == project.before
    project.owctl("restore", "finish", "--yes")
    project.owctl("health")


def test_a_new_server_that_does_not_come_up(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are in place by then; the old ones come back by themselves."""

    def fail(*_: object) -> None:
        assert project.journal().phase == "swapped"
        raise ServiceFailed("postgres exited with code 1.")

    monkeypatch.setattr(upgrade_run, "start_database", fail)
    with pytest.raises(ServiceFailed) as caught:
        upgrade_postgres(project.engine, project.stack, plan(project), REQUEST)
    assert caught.value.details[-1] == "Everything is as it was before."


def test_a_dry_run_says_everything(project: Project) -> None:
    out, _ = project.upgrade("--dry-run")
    assert f"from     PostgreSQL 15 ({OLD_IMAGE})" in out
    assert f"to       PostgreSQL 17 ({NEW_IMAGE})" in out
    for words in ("Other one", "pg_trgm", "roles reader, web", "stop     app", "MB needed"):
        assert words in out
    assert "--yes" in project.upgrade(code=2)[1]
    assert "No upgrade" in project.upgrade("finish", "--yes", code=2)[1]
    doctor = json.loads(project.owctl("doctor", "--json", code=1)[0])
    (found,) = (each for each in doctor["checks"] if each["check"] == "postgres-version")
    assert found["hint"].startswith("owctl upgrade --postgres-major")
    _, err = project.owctl("start", code=1)
    assert "owctl upgrade --postgres-major" in err


def test_the_server_runs_on_another_volume_than_the_files_name(
    engine: Engine, project: Project, base_image: str
) -> None:
    other, path = f"{project.name}_other", project.folder / "compose.yaml"
    text = path.read_text()
    path.write_text(text.replace("{postgres_data: }", f"{{postgres_data: {{name: {other}}}}}"))
    body = {
        "Image": base_image,
        "Entrypoint": ["cp", "-a", "/from/.", "/to/"],
        "HostConfig": {"Binds": [f"{project.name}_postgres_data:/from", f"{other}:/to"]},
    }
    copier = engine.api.create_container_from_config(body)["Id"]
    try:
        engine.api.start(copier)
        engine.api.wait(copier)
        _, err = project.upgrade("--dry-run", code=1)
    finally:
        engine.api.remove_container(copier, force=True)
        engine.api.remove_volume(other)
        path.write_text(text)
    assert f"postgres runs on {project.name}_postgres_data" in err
    assert f"the volume {other}" in err
    assert "Try: " in err


def test_the_same_major(project: Project) -> None:
    project.use(OLD_IMAGE)
    _, err = project.upgrade("--dry-run", code=2)
    assert f"so is {OLD_IMAGE}" in err
    assert "POSTGRES_IMAGE" in err


def test_an_image_that_keeps_its_data_elsewhere(project: Project) -> None:
    path = project.folder / "compose.yaml"
    text = path.read_text()
    path.write_text(text.replace("POSTGRES_DB: chats", "PGDATA: /var/lib/postgresql/18/docker"))
    try:
        _, err = project.upgrade("--dry-run", code=1)
    finally:
        path.write_text(text)
    assert "PGDATA: /var/lib/postgresql/data" in err


@pytest.mark.parametrize(
    ("statement", "undo", "words"),
    [
        (
            "SELECT pg_create_physical_replication_slot('standby')",
            "SELECT pg_drop_replication_slot('standby')",
            "the replication slot standby",
        ),
        (
            'ALTER DATABASE "Other one" ALLOW_CONNECTIONS false',
            'ALTER DATABASE "Other one" ALLOW_CONNECTIONS true',
            "the database Other one",
        ),
    ],
    ids=["slot", "database"],
)
def test_what_a_dump_does_not_take_along(
    project: Project, statement: str, undo: str, words: str
) -> None:
    with (
        made(project, statement, undo),
        pytest.raises(OwctlError, match="cannot be taken") as caught,
    ):
        plan(project)
    assert any(words in line for line in caught.value.details)


def test_too_little_room(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade_plan, "_RESERVE_BYTES", 10**15)
    with pytest.raises(OwctlError, match=r"1000\.\d TB are needed meanwhile"):
        plan(project)


def test_somebody_else_uses_the_volume(engine: Engine, project: Project, base_image: str) -> None:
    name = f"{project.name}-guest"
    body = {
        "Image": base_image,
        "Entrypoint": ["sleep", "3600"],
        "HostConfig": {"Init": True, "Binds": [f"{project.name}_postgres_data:/v"]},
    }
    engine.api.create_container_from_config(body, name=name)
    engine.api.start(name)
    try:
        with pytest.raises(OwctlError, match=f"{name} uses the volume"):
            plan(project)
    finally:
        engine.api.remove_container(name, force=True)


def test_an_extension_that_the_new_image_lacks(engine: Engine, project: Project) -> None:
    """It is found out before anything is stopped."""
    script = (
        "cd /usr/share/postgresql/15/extension && echo 'default_version = 1' >own.control "
        "&& echo 'CREATE TABLE from_extension ();' >own--1.sql"
    )
    answer = run(engine, f"{project.name}-postgres-1", ["sh", "-c", script], user="0:0")
    assert answer.exit_code == 0
    started = project.sql("SELECT pg_postmaster_start_time()")
    with made(project, "CREATE EXTENSION own", "DROP EXTENSION own"):
        _, err = project.upgrade("--yes", code=1)
    assert "it lacks the extension own, which the database chats uses" in err
    assert "Everything is as it was before." in err
    assert project.sql("SELECT pg_postmaster_start_time()") == started


def test_a_load_that_fails(project: Project) -> None:
    """A constraint that is met by the session alone that writes the row: a dump of it cannot load."""
    statement = """
    CREATE FUNCTION is_allowed(text) RETURNS bool IMMUTABLE LANGUAGE sql
      AS $$ SELECT current_setting('app.allowed') = $1 $$;
    CREATE TABLE judged (name text CHECK (is_allowed(name)));
    SET app.allowed = 'x'; INSERT INTO judged VALUES ('x');
    """
    undo = "DROP TABLE judged; DROP FUNCTION is_allowed;"
    with made(project, statement, undo):
        _, err = project.upgrade("--yes", code=1)
        assert project.sql("SELECT count(*) FROM judged") == "1"
    assert "app.allowed" in err
    assert "Everything is as it was before." in err


@pytest.mark.parametrize(
    "moment", [("preparing", None), ("moving", "dump")], ids=["preparing", "loading"]
)
def test_a_kill_and_back(project: Project, moment: tuple[str, str | None]) -> None:
    project.kill_at(*moment)
    project.wait_until_nobody_serves()
    if moment[0] == "moving":
        assert "owctl upgrade --postgres-major resume" in project.owctl("backup", code=1)[1]
    project.upgrade("undo", "--yes")
    assert_as_before(project)


def test_an_interruption(project: Project) -> None:
    process = project.begin("upgrade", "--postgres-major", "--yes")
    wait_for_phase(project, lambda phase: phase == "moving", process)
    process.terminate()
    _, err = process.communicate(timeout=280)
    assert process.returncode == 130, err
    assert "Everything is as it was before." in err
    assert_as_before(project)


def wait_for_phase(
    project: Project, come: Callable[[str], bool], process: subprocess.Popen[str]
) -> None:
    while (journal := project.journal()) is None or not come(journal.phase):
        assert process.poll() is None, process.communicate()


def test_a_stack_that_stands_still_and_the_end(stack: Project) -> None:
    """Its server is started for the while, from the image that is found, and nothing else.

    Somebody has tried the new image on the old data. The last test of the project: there is no way
    back from here.
    """
    stack.use(NEW_IMAGE)
    stack.owctl("stop")
    stack.owctl("start", "postgres", "--no-wait", "--ignore", "postgres-version")
    wait_until(lambda: stack.running() == set(), "PostgreSQL 17 gives up", 60)
    planned = json.loads(stack.upgrade("--dry-run", "--json")[0])
    # It may have several names.
    assert planned["old"]["major"] == "15"
    assert planned["old"]["image"].startswith("owctl-demo-postgres:")
    assert planned["stops"] == []

    named = f"{stack.name}-before:15"
    stack.engine.api.tag(OLD_IMAGE, *named.split(":"))
    try:
        stack.kill_at("moving", "dump", "--old-image", named)
        begun = stack.journal()
        assert begun is not None
        assert begun.old_image == named
        document = stack.json("upgrade", "--postgres-major", "resume")
    finally:
        stack.engine.api.remove_image(named, noprune=True)
    assert document["upgrade"]["old_image"] == named
    assert stack.running() == set()
    assert document["upgrade"]["backup"] == begun.backup
    assert document["rows"] == {
        "chats.public.user": 50,
        "chats.public.chat": 2000,
        "chats.public.empty": 0,
        "chats.large objects": 1,
    }
    assert document["server_version"].startswith("17.")
    assert document["settings"] == ["random_page_cost"]
    # From 17 on the session's search_path does not count where an index is made.
    (found,) = document["not_made"]
    assert (found["kind"], found["name"]) == ("index", "public.user_search")
    assert "ALTER FUNCTION" in found["hint"]
    assert document["objects"]["databases"] == 3
    assert document["kept_bytes"] > 10_000_000

    stack.kill_at("finishing", None, "finish")
    assert "may be gone already" in stack.upgrade("undo", "--yes", code=1)[1]
    stack.upgrade("finish", "--yes")
    assert stack.journal() is None
    stack.owctl("start")
    assert ".owctl-postgres" not in stack.data_folder()
    assert stack.major() == "17"
    assert stack.sql(STATE) == stack.before
    stack.use(OLD_IMAGE)
    _, err = stack.upgrade("--dry-run", code=2)
    assert "there is no way down" in err
