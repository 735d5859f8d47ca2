"""How containers are replaced, and what is said of images: from a stack and what exists."""

from dataclasses import replace
from pathlib import Path

import pytest

from owctl.compose.model import Attachment, Build, Mount, Port, Probe, Service
from owctl.engine.containers import ContainerMount
from owctl.engine.images import Image, kept_name
from owctl.lifecycle.start_plan import StartOptions, plan_start
from owctl.postgres.compare import compare_columns
from owctl.upgrade.images.candidates import Fetching, note_of, source_of
from owctl.upgrade.images.roll import plan_replacements
from tests.unit.test_lifecycle_plan import container, observed, same, service, stack

BUILD = Build(Path("/x"))
WEB = Probe("http", 8080, "/health")
DATA = Mount("volume", "/data", "data")


def one(web: Service, count: int = 1):
    containers = [container(web.name, number=number) for number in range(1, count + 1)]
    return plan_replacements(stack(web), {web.name: containers}, [web.name])


def test_a_web_service_on_a_port_of_the_engines_choice_is_replaced_beside():
    (found,) = one(service("web", probe=WEB, ports=(Port(8080, ""),)))
    assert (found.mode, found.gap) == ("beside", "")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ports": (Port(8080, "8080", "127.0.0.1"),)}, "the host port 127.0.0.1:8080"),
        ({"ports": (Port(8080, "3000-3005"),)}, "the host port 3000-3005"),
        ({"mounts": (DATA,)}, "write to /data"),
        ({"probe": Probe("postgres", 5432)}, "work on its data"),
        ({"probe": Probe("none")}, "work on its data"),
        ({"network_mode": "host"}, "network_mode host"),
        ({"attachments": (Attachment("net", ipv4_address="10.0.0.5"),)}, "fixed address"),
    ],
)
def test_what_cannot_run_twice_is_replaced_in_place_and_says_why(changes: dict, why: str):
    (found,) = one(replace(service("web", probe=WEB), **changes))
    assert found.mode == "in place"
    assert why in found.gap


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_handed_on_is_never_written_to_by_two(count: int):
    mount = ContainerMount("volume", "0" * 64, "", "/cache", True)
    web = service("web", probe=WEB)
    containers = [
        replace(container("web", number=number), mounts=(mount,)) for number in range(1, count + 1)
    ]
    found = plan_replacements(stack(web), {"web": containers}, ["web"])
    assert {each.mode for each in found} == {"in place"}
    assert found[0].gap == ("only one at a time may write to /cache" if count == 1 else "")


def test_a_mount_that_is_only_read_is_no_obstacle():
    (found,) = one(service("web", probe=WEB, mounts=(replace(DATA, read_only=True),)))
    assert found.mode == "beside"


def test_who_scales_a_service_has_said_that_its_data_is_shared():
    found = one(service("web", probe=WEB, mounts=(DATA,)), count=2)
    assert [(each.number, each.mode) for each in found] == [(1, "beside"), (2, "beside")]


def test_of_several_that_leave_no_room_for_one_more_the_others_serve():
    found = one(service("web", probe=WEB, ports=(Port(8080, "3000-3001"),)), count=2)
    assert [(each.mode, each.gap) for each in found] == [("in place", ""), ("in place", "")]


@pytest.mark.parametrize(
    ("changes", "fetching", "source"),
    [
        ({}, Fetching(), "pull"),
        ({}, Fetching(pull=False), "local"),
        ({"pull_policy": "never"}, Fetching(pull=True), "local"),
        ({"build": BUILD}, Fetching(), "build"),
        ({"build": BUILD}, Fetching(build=False), "local"),
        ({"build": BUILD, "pull_policy": "always"}, Fetching(), "pull"),
    ],
)
def test_where_a_new_image_comes_from(changes: dict, fetching: Fetching, source: str):
    assert source_of(service("web", **changes), fetching) == source


def test_start_neither_pulls_nor_builds_what_is_held():
    held = service("web", build=BUILD, held_image="owctl-rollback/proj/web:0123")
    options = StartOptions(pull=True, build=True)
    found = plan_start(stack(held), observed(), ["web"], options, same)
    assert {step.kind for step in found.steps} & {"pull", "build"} == set()


@pytest.mark.parametrize(
    ("project", "name"),
    [
        ("proj", "owctl-rollback/proj/web:0123456789ab"),
        ("my_proj-", "owctl-rollback/my-proj/web:0123456789ab"),
        ("a___b", "owctl-rollback/a-b/web:0123456789ab"),
    ],
)
def test_a_kept_image_has_a_name_that_the_engine_takes(project: str, name: str):
    assert kept_name(project, "Web", "sha256:0123456789abcdef") == name


def test_an_image_is_noted_with_the_digest_of_its_own_repository():
    image = Image(
        id="sha256:" + "1" * 64,
        tags=(),
        digests=("other/app@sha256:aa", "host:5000/app@sha256:bb"),
        size_bytes=1,
        created_at=None,
        labels={"org.opencontainers.image.version": "1.2"},
        raw={},
    )
    note = note_of(image, "host:5000/app:latest")
    assert (note.digest, note.version) == ("sha256:bb", "1.2")
    assert note.in_words == "1.2 (111111111111)"
    assert note_of(replace(image, digests=(), labels={}), "app").digest is None


def test_moved_columns_are_told_in_words():
    moved = compare_columns(
        ["public.a.x text", "public.a.y text"], ["public.a.x text", "public.b.z json"]
    )
    assert moved.in_words() == "1 column came (public.b.z json) and 1 column went (public.a.y text)"
    assert not compare_columns(["a"], ["a"])
    many = compare_columns([], [f"t.c{number}" for number in range(7)])
    assert many.in_words().endswith("t.c4, …)")
