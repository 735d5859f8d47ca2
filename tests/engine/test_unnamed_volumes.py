"""Volumes without a name: each is its container's alone, and is handed on to whatever replaces that."""

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine_helpers import write_compose_file

from owctl.backup.inventory import take_inventory
from owctl.compose.loader import load
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import Container, list_containers, remove_container, rename_container
from owctl.engine.execution import run as execute
from owctl.engine.volumes import remove_volume
from owctl.errors import OwctlError
from owctl.lifecycle.clean import CleanOptions, prepare_clean
from owctl.lifecycle.run import prepare_start, prepare_stop, run
from owctl.lifecycle.services import Services
from owctl.lifecycle.start_plan import Scale, StartOptions
from owctl.progress import Event, ignore
from owctl.settings import Flags, Settings
from owctl.upgrade.images.roll import roll, tidy

pytestmark = pytest.mark.engine

# One that the image wants, and one that the files want.
FOLDERS = ("/of-image", "/keep")
TEXT = """
name: @PROJECT@
services:
  keeper:
    image: @PROJECT@:${TAG:-one}
    command: sleep 3600
    init: true
    restart: always
    scale: 2
    stop_grace_period: 1s
    environment: {LEVEL: "${LEVEL:-1}", PGDATA: "${FOLDER:-}"}
    volumes: [/keep]
"""


@pytest.fixture
def images(engine: Engine, project: str, base_image: str) -> Iterator[None]:
    """Two images of different content with a VOLUME."""
    made = engine.api.create_container(base_image, ["true"])
    for tag in ("one", "two"):
        changes = ["VOLUME /of-image", f"ENV MADE={tag}"]
        engine.api.commit(made["Id"], project, tag, changes=changes)
    engine.api.remove_container(made["Id"])
    yield
    volumes = {m.name for c in list_containers(engine, project) for m in c.mounts}
    for container in list_containers(engine, project):
        remove_container(engine, container.id, force=True)
    for volume in volumes:
        remove_volume(engine, volume)
    for tag in ("one", "two"):
        engine.api.remove_image(f"{project}:{tag}")


StackOf = Callable[..., Stack]


@pytest.fixture
def stack_of(images: None, project: str, tmp_path: Path) -> StackOf:
    def make(**variables: str) -> Stack:
        write_compose_file(tmp_path, TEXT.replace("@PROJECT@", project))
        return load(Settings.load(Flags(), {**os.environ, **variables}, tmp_path))

    return make


def start(engine: Engine, stack: Stack, **options: object) -> list[str]:
    """Start it; returns what was replaced."""
    prepared = prepare_start(engine, stack, ["keeper"], StartOptions(**options))
    run(engine, stack, prepared, ignore)
    return [step.reason for step in prepared.plan.steps if step.kind == "replace"]


def stop(engine: Engine, stack: Stack) -> tuple[str, ...]:
    prepared = prepare_stop(engine, stack, ["keeper"])
    run(engine, stack, prepared, ignore)
    return prepared.kept_data


def containers(engine: Engine, stack: Stack) -> list[Container]:
    return list_containers(engine, stack.project)


def write(engine: Engine, stack: Stack) -> None:
    for each in containers(engine, stack):
        for folder in FOLDERS:
            script = f"echo {each.number} of {folder} > {folder}/data"
            assert execute(engine, each.id, ["sh", "-c", script]).exit_code == 0


def data_is_there(engine: Engine, stack: Stack) -> bool:
    """Whether every replica has what it wrote itself."""
    return all(
        execute(engine, each.id, ["cat", f"{folder}/data"]).stdout.decode()
        == f"{each.number} of {folder}\n"
        for each in containers(engine, stack)
        for folder in FOLDERS
    )


def test_they_are_handed_on_by_whatever_replaces_a_container(engine: Engine, stack_of: StackOf):
    stack = stack_of()
    start(engine, stack)
    write(engine, stack)
    volumes = [each.unnamed_volumes for each in containers(engine, stack)]
    assert [sorted(each) for each in volumes] == [sorted(FOLDERS)] * 2

    changed = stack_of(LEVEL="2")
    assert start(engine, changed) == ["environment LEVEL changed"] * 2
    assert data_is_there(engine, changed)
    assert start(engine, changed) == []

    newer = stack_of(LEVEL="2", TAG="two")
    roll(engine, newer, ["keeper"], ignore, timeout_seconds=30)
    assert {each.environment["MADE"] for each in containers(engine, newer)} == {"two"}
    assert data_is_there(engine, newer)
    assert start(engine, newer) == []
    assert [each.unnamed_volumes for each in containers(engine, newer)] == volumes


def test_stop_keeps_a_container_with_them_and_says_so(engine: Engine, stack_of: StackOf):
    stack = stack_of()
    start(engine, stack)
    write(engine, stack)
    said = stop(engine, stack)
    names = [list(each.unnamed_volumes.values()) for each in containers(engine, stack)]
    assert [name[:12] in line for line, each in zip(said, names, strict=True) for name in each]
    assert said[0].startswith("keeper: its data is in the unnamed volumes ")
    assert said[1].startswith(f"{stack.project}-keeper-2: ")
    assert all(line.endswith("kept, and mounted again by the next start") for line in said)
    found = containers(engine, stack)
    assert {each.state for each in found} == {"exited"}
    # The engine's own next start does not start what was stopped.
    assert {each.restart_policy for each in found} == {"no"}
    assert prepare_stop(engine, stack, ["keeper"]).plan.steps == ()
    listed = {
        item.name for item in prepare_clean(engine, stack, CleanOptions()).listing.of("volume")
    }
    assert listed == {name for each in names for name in each}

    start(engine, stack)
    assert data_is_there(engine, stack)
    assert {each.restart_policy for each in containers(engine, stack)} == {"always"}


def test_services_that_stand_still_for_a_while_have_them_again(engine: Engine, stack_of: StackOf):
    stack = stack_of()
    start(engine, stack)
    write(engine, stack)
    services = Services(engine, stack, ignore, 30)
    services.stop()
    assert {each.restart_policy for each in containers(engine, stack)} == {"no"}
    services.start(["keeper"])
    assert {each.restart_policy for each in containers(engine, stack)} == {"always"}
    assert data_is_there(engine, stack)


def test_a_database_in_the_container_itself_is_not_replaced(engine: Engine, stack_of: StackOf):
    stack = stack_of(FOLDER="/in-itself")
    start(engine, stack)
    before = [each.id for each in containers(engine, stack)]
    changed = stack_of(FOLDER="/in-itself", LEVEL="2")
    for replace in (
        lambda: start(engine, changed),
        lambda: roll(engine, stack_of(TAG="two"), ["keeper"], ignore, timeout_seconds=30),
    ):
        with pytest.raises(OwctlError, match="/in-itself is in no volume") as caught:
            replace()
        assert "owctl start --recreate keeper" in (caught.value.hint or "")
        found = containers(engine, stack)
        assert [each.id for each in found if each.is_running] == before
    assert "in the container itself" in stop(engine, stack)[0]
    assert [each.id for each in containers(engine, stack)] == before
    assert start(engine, changed, recreate=True) == ["asked for"] * 2


def test_a_lone_successor_is_the_services_container(engine: Engine, stack_of: StackOf):
    stack = stack_of()
    start(engine, stack)
    write(engine, stack)
    before = {each.id for each in containers(engine, stack)}
    for settle in (lambda: start(engine, stack), lambda: tidy(engine, stack)):
        # As compose or owctl leave it, killed before the last step of a replacement.
        for each in containers(engine, stack):
            rename_container(engine, each.id, f"{secrets.token_hex(6)}_{each.name}")
        assert not settle()
        assert {each.id for each in containers(engine, stack)} == before
        assert [each.name for each in containers(engine, stack)] == [
            f"{stack.project}-keeper-1",
            f"{stack.project}-keeper-2",
        ]
    assert data_is_there(engine, stack)


def test_data_that_nothing_mounts_any_more_is_told_of(engine: Engine, stack_of: StackOf):
    stack = stack_of()
    start(engine, stack)
    first, second = (each.unnamed_volumes for each in containers(engine, stack))
    events: list[Event] = []
    options = StartOptions(scale=Scale({"keeper": 1}))
    run(engine, stack, prepare_start(engine, stack, ["keeper"], options), events.append)
    told = " ".join(event.text for event in events if event.state == "warning")
    assert all(f"{stack.project}-keeper-2: what it had in {each}" in told for each in second)
    assert all(name in told for name in second.values())
    assert not any(name in told for name in first.values())
    for name in second.values():
        remove_volume(engine, name)


def test_a_backup_names_them_by_service_number_and_place(engine: Engine, stack_of: StackOf):
    stack = stack_of()
    start(engine, stack)
    expected = {"keeper-keep", "keeper-of-image", "keeper-2-keep", "keeper-2-of-image"}
    assert {each.key for each in take_inventory(engine, stack).volumes} == expected
    # Whichever of them runs.
    engine.api.stop(f"{stack.project}-keeper-1", timeout=0)
    found = {each.key: each.name for each in take_inventory(engine, stack).volumes}
    one, two = containers(engine, stack)
    assert found["keeper-keep"] == one.unnamed_volumes["/keep"]
    assert found["keeper-2-keep"] == two.unnamed_volumes["/keep"]
