"""Which service is the application's database, and as whom it signs in: stacks and their answers."""

from dataclasses import replace

import pytest

from owctl.compose.model import Attachment, Probe, Service
from owctl.errors import OwctlError
from owctl.postgres.place import (
    Credentials,
    address_of,
    backend_of,
    credentials_of,
    database_of,
    require_database,
)
from tests.unit.test_lifecycle_plan import service, stack


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
            (FIRST, SECOND, backend(URL.format("db.example.org"))), "first", id="another machine"
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
