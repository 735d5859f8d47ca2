"""The swap of databases: in one transaction, whoever is connected, and back again."""

from collections.abc import Iterator

import pytest
from backup_project import Project

from owctl.engine.connection import Engine
from owctl.engine.containers import inspect_container
from owctl.engine.execution import open_exec
from owctl.errors import OwctlError
from owctl.postgres.psql import Server
from owctl.postgres.swap import DatabaseNames, DatabaseSwap

pytestmark = pytest.mark.engine
ENVIRONMENT = {"PGUSER": "web", "PGPASSWORD": "correct-horse-battery", "PGDATABASE": "chats"}
NAMES = DatabaseNames("postgres", "chats", "ow_restore_1", "ow_before_1")


@pytest.fixture(scope="module")
def stack(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(engine, tmp_path_factory.mktemp("folder"))
    try:
        project.start_database("CREATE TABLE which (name text); INSERT INTO which VALUES ('old');")
        yield project
    finally:
        project.remove()


@pytest.fixture
def swap(engine: Engine, stack: Project) -> Iterator[DatabaseSwap]:
    container = inspect_container(engine, stack.containers["postgres"])
    assert container is not None
    swap = DatabaseSwap(Server(engine, container, ENVIRONMENT), NAMES)
    yield swap
    swap.swap_back()
    swap.drop_staged()


def staged(swap: DatabaseSwap) -> DatabaseSwap:
    assert swap.create("UTF8", "C.UTF-8") == []
    swap.server.ask(
        "CREATE TABLE which (name text); INSERT INTO which VALUES ('new');", database=NAMES.staged
    )
    return swap


def which(swap: DatabaseSwap) -> str:
    return swap.server.ask("SELECT name FROM which;")[0][0]


def test_there_and_back(swap: DatabaseSwap) -> None:
    assert swap.state() == "absent"
    staged(swap)
    assert (swap.state(), which(swap)) == ("staged", "old")
    for _ in range(2):
        swap.swap()
        assert (swap.state(), which(swap)) == ("swapped", "new")
    for _ in range(2):
        swap.swap_back()
        assert (swap.state(), which(swap)) == ("staged", "old")
    for _ in range(2):
        swap.drop_staged()
        assert (swap.state(), which(swap)) == ("absent", "old")


def test_a_client_in_the_midst_of_a_transaction(swap: DatabaseSwap, engine: Engine) -> None:
    staged(swap)
    container = swap.server.container.id
    with open_exec(
        engine, container, ["psql", "-q"], environment=ENVIRONMENT, stdin=True
    ) as client:
        client.write(b"BEGIN; INSERT INTO which VALUES ('lost'); SELECT 'begun';\n")
        output = iter(client)
        assert b"begun" in next(output)[1]
        swap.swap()
        assert which(swap) == "new"
        client.write(b"COMMIT;\n")
        client.close_stdin()
        assert client.exit_code() != 0
    swap.swap_back()
    assert swap.server.ask("SELECT name FROM which;") == [["old"]]


def test_a_rename_that_fails_changes_neither(swap: DatabaseSwap) -> None:
    staged(swap)
    # The first of the two renames cannot be done: the name is taken.
    swap.server.ask(f"CREATE DATABASE {NAMES.kept};", database="postgres")
    with pytest.raises(OwctlError) as caught:
        swap._rename(NAMES.staged, NAMES.kept)
    assert any("already exists" in line for line in caught.value.details)
    swap.server.ask(f"DROP DATABASE {NAMES.kept};", database="postgres")
    assert (swap.state(), which(swap)) == ("staged", "old")


def test_without_what_was_staged(swap: DatabaseSwap) -> None:
    with pytest.raises(OwctlError, match="is gone"):
        swap.swap()
    assert which(swap) == "old"


def test_grants_and_settings_of_the_database_are_taken_over(swap: DatabaseSwap) -> None:
    swap.server.ask(
        'CREATE ROLE "re ader"; GRANT CONNECT ON DATABASE chats TO "re ader"; '
        "REVOKE TEMPORARY ON DATABASE chats FROM PUBLIC; "
        """ALTER DATABASE chats SET search_path = public, "a b"; """
        """ALTER ROLE "re ader" IN DATABASE chats SET work_mem = '8MB'; """
        "ALTER DATABASE chats SET default_text_search_config = gone;"
    )
    warnings = swap.create("UTF8", "C.UTF-8")
    assert [text for text in warnings if "setting" in text and "config=gone." in text]
    assert not any("search_path" in text or "work_mem" in text for text in warnings)
    assert swap.server.ask("SHOW search_path;", database=NAMES.staged) == [['public, "a b"']]
    query = "SELECT datacl FROM pg_database WHERE datname = :'name';"
    rights = [
        set(swap.server.ask(query, name=name)[0][0].strip("{}").split(","))
        for name in (NAMES.live, NAMES.staged)
    ]
    assert rights[0] == rights[1]


def test_a_locale_that_the_server_does_not_know(swap: DatabaseSwap) -> None:
    warnings = swap.create("UTF8", "xx_XX.utf8")
    assert any("xx_XX.utf8" in text for text in warnings)
    assert swap.state() == "staged"
