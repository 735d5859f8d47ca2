"""Images on a real engine: found, tagged, pulled from a registry of our own, built."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from owctl.compose.model import Build, Service
from owctl.engine import build as build_module
from owctl.engine.build import build_image, buildx_available
from owctl.engine.containers import create_container
from owctl.engine.images import (
    image_id,
    inspect_image,
    list_images,
    remove_image,
    tag_image,
)
from owctl.errors import ConfigurationError, EngineError

pytestmark = pytest.mark.engine

CLASSIC = {**os.environ, "DOCKER_BUILDKIT": "0"}


@pytest.fixture
def context(tmp_path: Path, base_image: str) -> Path:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {base_image} AS first\nARG GREETING=none\nRUN echo greeting is $GREETING\n"
        "COPY . /context\nRUN ls /context\nFROM first AS second\nENV STAGE=second\n"
    )
    (tmp_path / ".dockerignore").write_text("secret.txt\n")
    (tmp_path / "secret.txt").write_text("not for the image\n")
    (tmp_path / "public.txt").write_text("for the image\n")
    return tmp_path


@pytest.fixture(scope="session")
def buildx_environment() -> dict[str, str]:
    """An environment in which `docker buildx` works."""
    script = Path(__file__).parents[2] / "scripts" / "compose-plugin"
    found = subprocess.run([script], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.skip(f"no docker buildx: {found.stderr.strip()}")
    return {**os.environ, "DOCKER_CONFIG": found.stdout.strip()}


@pytest.fixture(params=["classic", "buildx"])
def builder(request) -> dict[str, str]:
    if request.param == "classic":
        return CLASSIC
    return request.getfixturevalue("buildx_environment")


def service(context: Path, **fields: object) -> Service:
    # Nothing here needs a network, so the tests don't depend on the engine's default one.
    return Service(name="app", build=Build(context=context, **{"network": "none", **fields}))


def test_an_image_that_is_there(engine, base_image):
    image = inspect_image(engine, base_image)
    assert image is not None
    assert image.id.startswith("sha256:")
    assert base_image in image.tags
    assert image.size_bytes > 0
    assert image_id(engine, base_image) == image.id


def test_an_image_that_is_not_there(engine, project):
    assert inspect_image(engine, f"{project}:none") is None
    remove_image(engine, f"{project}:none")  # no error


def test_a_further_name(engine, base_image, project):
    for reference in (f"{project}-x", f"{project}-x:v1", f"localhost:5000/{project}-x:v2"):
        tag_image(engine, base_image, reference)
        assert image_id(engine, reference) == image_id(engine, base_image)
        remove_image(engine, reference)
        assert image_id(engine, reference) is None


def test_a_build_with_either_builder(engine, project, context, builder):
    lines: list[str] = []
    built = build_image(
        engine, project, service(context, args={"GREETING": "hello"}, target="first"),
        no_cache=True, on_line=lines.append, environ=builder,
    )  # fmt: skip
    output = "\n".join(lines)
    assert "greeting is hello" in output
    assert "public.txt" in output
    assert "secret.txt" not in output
    assert f"{project}-app:latest" in built.tags
    assert built.labels["com.docker.compose.project"] == project
    assert built.labels["com.docker.compose.service"] == "app"
    assert "STAGE=second" not in (built.raw["Config"]["Env"] or [])
    assert [image.id for image in list_images(engine, project)] == [built.id]


def test_a_build_argument_without_a_value_takes_the_environments(engine, project, context, builder):
    lines: list[str] = []
    build_image(
        engine, project, service(context, args={"GREETING": None}),
        no_cache=True, on_line=lines.append, environ={**builder, "GREETING": "from outside"},
    )  # fmt: skip
    assert "greeting is from outside" in "\n".join(lines)


def test_a_build_that_fails_shows_its_last_lines(engine, project, context, builder):
    (context / "Dockerfile").write_text(
        (context / "Dockerfile").read_text() + "RUN echo the reason; exit 9\n"
    )
    with pytest.raises(EngineError, match="Cannot build app") as caught:
        build_image(engine, project, service(context), environ=builder)
    assert any("the reason" in line for line in caught.value.details)
    assert "9" in caught.value.message
    assert "owctl rebuild app" in (caught.value.hint or "")


def test_a_build_without_its_files(engine, project, context):
    missing = replace(service(context), build=Build(context=context / "nowhere"))
    with pytest.raises(ConfigurationError, match="does not exist"):
        build_image(engine, project, missing)
    with pytest.raises(ConfigurationError, match=r"there is no .*Dockerfile\.other"):
        build_image(engine, project, service(context, dockerfile="Dockerfile.other"))
    with pytest.raises(ConfigurationError, match="no `build:`"):
        build_image(engine, project, Service(name="app", image="x"))


def test_a_secret_build_argument_is_on_no_command_line(context):
    build = Build(context=context, args={"TOKEN": "s3cret", "DOCKER_HOST": "x", "PATH": "/y"})
    environ = {"PATH": "/usr/bin"}
    command = build_module.buildx_command(build, "n", {}, environ, no_cache=False, pull=False)
    assert "s3cret" not in " ".join(command)
    # These would change what the docker command does, so they can't go by its environment.
    assert "DOCKER_HOST=x" in command
    assert "PATH=/y" in command


def test_buildx_is_not_used_where_it_is_forbidden_or_missing(tmp_path):
    assert not buildx_available({"DOCKER_BUILDKIT": "0"})
    assert not buildx_available({"PATH": str(tmp_path)})


def test_an_image_in_use_is_not_removed(engine, project, context):
    built = build_image(engine, project, service(context), environ=CLASSIC)
    labels = {"com.docker.compose.project": project}
    create_container(
        engine, f"{project}-user", {"Image": built.id, "Cmd": ["true"], "Labels": labels}
    )
    with pytest.raises(EngineError, match="the image is used by a container"):
        remove_image(engine, f"{project}-app")
