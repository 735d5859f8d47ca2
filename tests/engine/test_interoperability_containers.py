"""owctl and docker compose on the same project: each sees, stops and keeps what the other made."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_helpers import body_of, create, free_port, inspected, write_compose_file

from owctl.compose.loader import load
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.engine.containers import Container, list_containers, start_container
from owctl.engine.drift import differences
from owctl.engine.images import inspect_image
from owctl.engine.networks import list_networks
from owctl.engine.volumes import list_volumes
from owctl.lifecycle.plan import Step
from owctl.lifecycle.run import prepare_start, prepare_stop
from owctl.lifecycle.run import run as carry_out
from owctl.lifecycle.start_plan import StartOptions
from owctl.progress import ignore
from owctl.settings import Flags, Settings

pytestmark = pytest.mark.engine

EVERY_KEY = Path(__file__).parents[1] / "data" / "every-key.yaml"

Compose = Callable[..., str]


@pytest.fixture(scope="session")
def plugin_folder() -> str:
    script = Path(__file__).parents[2] / "scripts" / "compose-plugin"
    found = subprocess.run([script], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.skip(f"no docker compose: {found.stderr.strip()}")
    return found.stdout.strip()


@pytest.fixture
def compose(plugin_folder: str, tmp_path: Path) -> Compose:
    def call(*arguments: str) -> str:
        done = subprocess.run(
            ["docker", "compose", *arguments],
            cwd=tmp_path,
            env={**os.environ, "DOCKER_CONFIG": plugin_folder},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr if "logs" not in arguments else done.stdout

    return call


@pytest.fixture
def stack(project: str, tmp_path: Path, base_image: str) -> Stack:
    (tmp_path / "folder").mkdir()
    text = EVERY_KEY.read_text()
    for name, value in (
        ("@PROJECT@", project),
        ("@IMAGE@", base_image),
        ("@PORT@", str(free_port())),
        ("@UDP_PORT@", str(free_port())),
    ):
        text = text.replace(name, value)
    (tmp_path / "compose.yaml").write_text(text)
    return load(Settings.load(Flags(), os.environ, tmp_path))


def drift(engine: Engine, stack: Stack, container: Container) -> tuple[str, ...]:
    service = stack.services[container.service]
    image = inspect_image(engine, service.image_name(stack.project))
    assert image is not None
    body = body_of(engine, stack, service, container.number)
    return differences(body, container.raw, image.raw)


def up(engine: Engine, stack: Stack) -> list[Container]:
    made = [create(engine, stack, service) for service in stack.services.values()]
    for container in made:
        start_container(engine, container.id, container.name)
    return [inspected(engine, container.id) for container in made]


def identities(engine: Engine, project: str) -> dict[str, tuple[str, str | None]]:
    found = list_containers(engine, project)
    return {container.name: (container.id, container.started_at) for container in found}


def test_what_owctl_made_is_composes_too(engine, stack, compose, project):
    up(engine, stack)
    before = identities(engine, project)
    shown = [json.loads(line) for line in compose("ps", "--format", "json").splitlines()]
    assert {(each["Service"], each["State"]) for each in shown} == {
        ("plain", "running"), ("rich", "running"), ("host", "running"),
    }  # fmt: skip
    assert project in compose("ls")
    compose("logs")
    assert compose("exec", "-T", "plain", "echo", "hello").strip() == "hello"
    # The real test: compose finds nothing to change, and so keeps every container.
    compose("up", "-d")
    assert identities(engine, project) == before
    compose("stop", "plain")
    states = {each.service: each.state for each in list_containers(engine, project)}
    assert states == {"plain": "exited", "rich": "running", "host": "running"}
    compose("down", "-v")
    assert list_containers(engine, project) == []
    assert list_networks(engine, project) == []
    assert list_volumes(engine, project) == []


def test_what_compose_made_is_owctls_too_and_has_not_drifted(engine, stack, compose, project):
    compose("up", "-d")
    found = list_containers(engine, project)
    assert {each.service for each in found} == set(stack.services)
    assert {each.service: drift(engine, stack, each) for each in found} == {
        "plain": (), "rich": (), "host": (),
    }  # fmt: skip
    assert {each.key for each in list_networks(engine, project)} == {"default", "back"}
    assert {each.key for each in list_volumes(engine, project)} == {"files"}
    assert all(each.working_dir == str(stack.working_dir) for each in found)


def test_what_compose_made_again_has_not_drifted_either(engine, stack, compose, project):
    # A container that compose recreates inherits its anonymous volumes by name.
    compose("up", "-d")
    compose("up", "-d", "--force-recreate")
    found = list_containers(engine, project)
    assert [drift(engine, stack, each) for each in found] == [(), (), ()]


def test_owctls_own_containers_have_not_drifted_even_without_the_shortcut(engine, stack, project):
    for container in up(engine, stack):
        assert drift(engine, stack, container) == ()
        service = stack.services[container.service]
        image = inspect_image(engine, service.image_name(project))
        body = body_of(engine, stack, service)
        body["Labels"] = {**body["Labels"], "io.owctl.spec-hash": "another"}
        assert differences(body, container.raw, image.raw) == ()


def test_a_change_in_the_files_is_found(engine, stack, tmp_path):
    container = create(engine, stack, stack.services["rich"])
    path = tmp_path / "compose.yaml"
    path.write_text(path.read_text().replace("${LEVEL:-info}", "debug"))
    changed = load(Settings.load(Flags(), os.environ, tmp_path))
    assert drift(engine, changed, container) == ("environment LOG_LEVEL",)
    without = path.read_text().replace("    logging:", "    x-logging:")
    path.write_text(without.replace("debug", "${LEVEL:-info}"))
    changed = load(Settings.load(Flags(), os.environ, tmp_path))
    assert drift(engine, changed, container) == ("configuration",)


def test_a_network_that_was_made_anew_is_found(engine, stack, project):
    container = create(engine, stack, stack.services["plain"])
    service = stack.services["plain"]
    image = inspect_image(engine, service.image_name(project))
    start_container(engine, container.id)
    raw = inspected(engine, container.id).raw
    current = {network.name: network.id for network in list_networks(engine, project)}
    body = body_of(engine, stack, service)
    assert differences(body, raw, image.raw, network_ids=current) == ()
    renewed = dict.fromkeys(current, "0" * 64)
    assert differences(body, raw, image.raw, network_ids=renewed) == (f"network {project}_default",)


def test_a_volume_without_a_name_goes_from_one_to_the_other_and_back(
    engine, compose, project, base_image, tmp_path
):
    text = (
        f"name: {project}\nservices:\n  keeper:\n    image: {base_image}\n    command: sleep 3600\n"
        "    init: true\n    environment: {LEVEL: '@'}\n    volumes: [/keep]\n"
    )

    def files(level: str) -> Stack:
        write_compose_file(tmp_path, text.replace("@", level))
        return load(Settings.load(Flags(), os.environ, tmp_path))

    def start(stack: Stack) -> tuple[Step, ...]:
        prepared = prepare_start(engine, stack, ["keeper"], StartOptions())
        carry_out(engine, stack, prepared, ignore)
        return prepared.plan.changes

    def kept() -> str:
        (found,) = list_containers(engine, project)
        return compose("exec", "-T", "keeper", "cat", "/keep/a") + found.name

    files("1")
    compose("up", "-d")
    compose("exec", "-T", "keeper", "sh", "-c", "echo mine > /keep/a")
    expected = f"mine\n{project}-keeper-1"
    assert start(files("2"))
    assert kept() == expected
    before = identities(engine, project)
    compose("up", "-d")
    assert identities(engine, project) == before
    carry_out(engine, files("2"), prepare_stop(engine, files("2"), ["keeper"]), ignore)
    compose("up", "-d")
    assert kept() == expected
    stack = files("3")
    compose("up", "-d")
    assert start(stack) == ()
    assert kept() == expected
