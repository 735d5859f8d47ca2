"""Which service is the application's database, and as whom it signs in: stacks and their answers."""

from dataclasses import replace

import pytest

from owctl.compose.model import Attachment, Port, Probe, Service
from owctl.errors import OwctlError
from owctl.postgres.place import (
    Credentials,
    Elsewhere,
    address_of,
    backend_of,
    credentials_of,
    database_of,
    find_place,
    require_database,
)
from tests.unit.test_lifecycle_plan import container, service, stack


def postgres(name: str, **changes: object) -> Service:
    return service(name, image="postgres:16-alpine", **changes)


def backend(url: str | None, name: str = "rust-backend", **changes: object) -> Service:
    return service(name, environment={"DATABASE_URL": url}, **changes)


URL = "postgresql://u:p@{}:5432/chats"
FIRST, SECOND = postgres("first"), postgres("second")


@pytest.mark.parametrize(
    ("services", "expected"),
    [
        pytest.param((), None, id="no services"),
        pytest.param((service("redis"), service("web")), None, id="no PostgreSQL"),
        pytest.param((service("web"), FIRST), "first", id="the only one"),
        pytest.param((FIRST, SECOND), "first", id="no backend: the first"),
        pytest.param((FIRST, SECOND, backend(URL.format("second"))), "second", id="named"),
        pytest.param((backend(URL.format("first")), FIRST, SECOND), "first", id="named, the first"),
        pytest.param(
            (FIRST, SECOND, backend("postgres://second")),
            "second",
            id="nothing but scheme and host",
        ),
        pytest.param(
            (FIRST, SECOND, backend("postgresql+asyncpg://u@second/x")),
            "second",
            id="with a driver",
        ),
        pytest.param(
            (FIRST, SECOND, backend("postgresql://u:p@s/s:w[rd@second:5432/x?sslmode=disable")),
            "second",
            id="a password that should have been quoted",
        ),
        pytest.param(
            (FIRST, SECOND, backend(URL.format("db.example.org"))), None, id="another machine"
        ),
        pytest.param((backend(URL.format("db.example.org")),), None, id="on another machine alone"),
        pytest.param((FIRST, SECOND, backend("sqlite:////data/second")), "first", id="SQLite"),
        pytest.param((FIRST, SECOND, backend("mysql://u:p@second/x")), "first", id="MySQL"),
        pytest.param((FIRST, SECOND, backend("second")), "first", id="no address"),
        pytest.param((FIRST, SECOND, backend("")), "first", id="empty"),
        pytest.param((FIRST, SECOND, backend(None)), "first", id="taken away"),
        pytest.param(
            (FIRST, postgres("db", container_name="chats-db"), backend(URL.format("chats-db"))),
            "db",
            id="by the name of its container",
        ),
        pytest.param(
            (
                FIRST,
                replace(SECOND, attachments=(Attachment("net", aliases=("main", "store")),)),
                backend(URL.format("store")),
            ),
            "second",
            id="by an alias",
        ),
        pytest.param(
            (FIRST, SECOND, service("pgbouncer"), backend(URL.format("pgbouncer"))),
            "first",
            id="a pooler before it is no database",
        ),
        pytest.param(
            (FIRST, SECOND, service("pool", "second"), backend(URL.format("pool"))),
            "second",
            id="the one that the pooler waits for",
        ),
        pytest.param(
            (
                FIRST,
                SECOND,
                service("pool", environment={"DB_HOST": "second"}),
                backend(URL.format("pool")),
            ),
            "second",
            id="the one that the pooler is told",
        ),
        pytest.param(
            (
                FIRST,
                service("pool", environment={"DATABASE_URL": URL.format("a.example.org")}),
                backend(URL.format("pool")),
            ),
            None,
            id="a pooler before another machine",
        ),
        pytest.param(
            (FIRST, SECOND, backend(URL.format("proj-second-1"))), "second", id="a replica"
        ),
        pytest.param(
            (FIRST, SECOND, backend(URL.format("SECOND.proj_net."))),
            "second",
            id="with its network",
        ),
        pytest.param(
            (FIRST, SECOND, backend("postgresql:///x?host=second")), "second", id="in the query"
        ),
        pytest.param(
            (FIRST, SECOND, backend("postgres://u:a%40b@second,first/x")), "second", id="several"
        ),
        pytest.param(
            (FIRST, SECOND, backend("postgres://u@localhost/x", network_mode="service:second")),
            "second",
            id="in the same network",
        ),
        pytest.param(
            (
                FIRST,
                replace(SECOND, ports=(Port(5432, "5433"),)),
                backend("postgres://u@localhost:5433/x", network_mode="host"),
            ),
            "second",
            id="published",
        ),
        pytest.param(
            (FIRST, backend("postgres://u@localhost/x", network_mode="host")),
            None,
            id="of the host itself",
        ),
        pytest.param(
            (
                FIRST,
                service("vectors", environment={"POSTGRES_PASSWORD": "x"}),
                backend(URL.format("vectors")),
            ),
            "vectors",
            id="of an image that is not known",
        ),
        pytest.param(
            (
                FIRST,
                SECOND,
                backend(URL.format("first"), "worker"),
                backend(URL.format("second"), "api", image="example/rust-backend:1"),
            ),
            "second",
            id="the backend's counts, not another's",
        ),
        pytest.param(
            (FIRST, SECOND, backend(URL.format("second"), "worker")),
            "first",
            id="one that is no backend",
        ),
        pytest.param(
            (FIRST, service("own", probe=Probe("postgres")), backend(URL.format("own"))),
            "own",
            id="declared by its probe",
        ),
        pytest.param(
            (postgres("tool", probe=Probe("none")), SECOND), "second", id="declared to be none"
        ),
    ],
)
def test_the_database_of_a_stack(services: tuple[Service, ...], expected: str | None) -> None:
    found = database_of(stack(*services))
    assert (found.name if found else None) == expected


def test_what_the_files_give_the_database_is_how_one_signs_in() -> None:
    given = {"POSTGRES_USER": "web", "POSTGRES_PASSWORD": "s3"}
    found = database_of(stack(postgres("db", environment=given)))
    assert found is not None
    assert found.credentials == Credentials("web", "web", "s3")
    assert "s3" not in repr(found)


@pytest.mark.parametrize(
    ("url", "login"),
    [
        ("postgresql://app:s%2Fe%40c@db:5432/app%20db", Credentials("app", "app db", "s/e@c")),
        ("postgres://app@db", Credentials("app", "app", "")),
        ("postgresql+asyncpg://app:p@db/x?ssl=require", Credentials("app", "x", "p")),
        ("postgresql://db/x?user=u&password=p%26q", Credentials("u", "x", "p&q")),
        ("postgresql://db", Credentials("", "")),
    ],
)
def test_whose_view_of_which_database_the_applications_is(url: str, login: Credentials) -> None:
    found = database_of(stack(postgres("db"), backend(url)))
    assert found is not None
    assert (found.login, found.database) == (login, login.database or None)


def test_what_the_backend_runs_with_is_the_applications_database_now() -> None:
    declared = stack(FIRST, SECOND, backend(URL.format("first")))
    running, ended = container("rust-backend"), container("rust-backend", number=2, state="exited")
    running = replace(running, environment={"DATABASE_URL": "postgres://old@second/before"})
    ended = replace(ended, environment={"DATABASE_URL": URL.format("first")})
    found = database_of(declared, [ended, running])
    assert found is not None
    assert (found.name, found.database) == ("second", "before")


def test_a_database_outside_of_the_stack_is_named() -> None:
    files = stack(FIRST, backend(URL.format("db.example.org")))
    assert find_place(files) == Elsewhere("db.example.org", "rust-backend")
    with pytest.raises(OwctlError) as caught:
        require_database(files, "to back up", hint="owctl config")
    assert caught.value.message == (
        "There is no database here to back up: DATABASE_URL of rust-backend names db.example.org, "
        "which is no service of this stack."
    )


def test_a_database_of_an_inactive_profile_is_there_and_its_profile_is_named() -> None:
    inactive = replace(FIRST, spec={"profiles": ["db"]})
    files = replace(stack(backend(URL.format("first"))), inactive_services={"first": inactive})
    assert database_of(files) is None
    found = database_of(files.with_inactive())
    assert found is not None
    assert found.name == "first"
    with pytest.raises(OwctlError) as caught:
        require_database(files, "to back up", hint="owctl config")
    assert "--profile db" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("environment", "variables"),
    [
        ({}, {"PGUSER": "postgres", "PGDATABASE": "postgres"}),
        ({"POSTGRES_USER": "u"}, {"PGUSER": "u", "PGDATABASE": "u"}),
        ({"POSTGRES_DB": "d"}, {"PGUSER": "postgres", "PGDATABASE": "d"}),
        (
            {"POSTGRES_USER": "u", "POSTGRES_DB": "d", "POSTGRES_PASSWORD": "p"},
            {"PGUSER": "u", "PGDATABASE": "d", "PGPASSWORD": "p"},
        ),
        ({"POSTGRES_PASSWORD": None}, {"PGUSER": "postgres", "PGDATABASE": "postgres"}),
    ],
)
def test_how_to_sign_in_by_the_images_rules(environment: dict, variables: dict) -> None:
    assert credentials_of(environment).variables == variables


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@host:5432/d", ("postgresql", "host")),
        ("POSTGRES://host", ("postgres", "host")),
        ("postgresql:///d", ("postgresql", "")),
        ("sqlite:///data/webui.db", ("sqlite", "")),
        ("sqlite+aiosqlite:///x", ("sqlite", "")),
        ("/data/webui.db", ("", "")),
        ("", ("", "")),
    ],
)
def test_an_address_is_taken_apart(url: str, expected: tuple[str, str]) -> None:
    assert address_of(url) == expected


def test_the_backend_is_told_by_name_image_and_what_it_is_given() -> None:
    named, other = backend("x"), backend("x", "other")
    uploads = service("api", environment={"DATABASE_URL": "x", "UPLOAD_DIR": "/data"})
    for services, expected in [
        ((other, uploads, named), named),
        ((other, uploads), uploads),
        ((other,), None),
        ((other, service("rust-backend")), service("rust-backend")),
    ]:
        assert backend_of(stack(*services)) == expected


def test_a_stack_without_a_database_is_told_what_it_was_wanted_for() -> None:
    for purpose, sentence in [
        ("to upgrade", "The stack has no PostgreSQL service to upgrade."),
        ("", "The stack has no PostgreSQL service."),
    ]:
        with pytest.raises(OwctlError) as caught:
            require_database(stack(service("web")), purpose, hint="owctl config")
        assert (caught.value.message, caught.value.hint) == (sentence, "owctl config")
    assert require_database(stack(FIRST), "", hint="").service == FIRST
