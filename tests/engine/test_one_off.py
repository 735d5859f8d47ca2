"""Helper containers: what they can, what they leave, and what they find."""

import io
import tarfile

import pytest
from engine_helpers import wait_until
from restore_place import Place

from owctl.engine.containers import create_container, inspect_container, start_container
from owctl.engine.images import inspect_image
from owctl.errors import EngineError, NotFound, OwctlError
from owctl.volumes.one_off import HELPER_LABEL, readable, remove_helpers, volume_helper

pytestmark = pytest.mark.engine


@pytest.fixture
def place(engine, project, base_image):
    made = Place(engine, project, base_image)
    yield made
    made.remove_worker()


def arguments(place: Place):
    return place.engine, place.project, place.image_id, place.volume


def test_a_helper_runs_as_root_without_network_and_goes_away(place: Place):
    with volume_helper(*arguments(place), "restore", writable=True, running=True) as helper:
        assert helper.run('printf "$1" >file; id -u; pwd; ls /sys/class/net', ["a b"]).split() == [
            "0", "/owctl-mount", "lo"
        ]  # fmt: skip
        with pytest.raises(OwctlError, match=r"files of the volume .*: second") as caught:
            helper.run("echo first >&2; echo second >&2; exit 3")
        assert caught.value.details == ("first",)
        with pytest.raises(OwctlError, match="exit code 4"):
            helper.run("exit 4")
        raw = inspect_container(place.engine, helper.id)
        assert raw is not None
        assert raw.raw["HostConfig"]["RestartPolicy"]["Name"] == "no"
    assert inspect_container(place.engine, helper.id) is None
    assert place.shell("cat file") == "a b"


def test_one_that_only_reads_cannot_write(place: Place):
    with (
        volume_helper(*arguments(place), "backup", running=True) as helper,
        pytest.raises(OwctlError, match="Read-only file system"),
    ):
        helper.run("touch file")


def test_what_a_killed_owctl_left_is_removed_with_what_it_runs(place: Place):
    name = f"{place.project}-owctl-restore-{place.volume}"
    mount = {"Type": "volume", "Source": place.volume, "Target": "/m"}
    body = {
        "Image": place.image_id,
        "Entrypoint": ["sh", "-c", "while :; do echo x >>/m/growing; done"],
        "Labels": {"com.docker.compose.project": place.project, HELPER_LABEL: "restore"},
        "HostConfig": {"Mounts": [mount], "NetworkMode": "none"},
    }
    left = create_container(place.engine, name, body)
    start_container(place.engine, left)
    wait_until(lambda: "growing" in place.shell("ls"), "the leftover works")
    with volume_helper(*arguments(place), "restore") as helper:
        assert helper.id != left
        assert inspect_container(place.engine, left) is None
        size = place.shell("stat -c %s growing")
        container = inspect_container(place.engine, helper.id)
        assert container is not None
        assert container.state == "created"
    assert place.shell("stat -c %s growing") == size


def test_a_container_of_somebody_else_is_not_touched(place: Place):
    name = f"{place.project}-owctl-restore-{place.volume}"
    body = {"Image": place.image_id, "Labels": {"com.docker.compose.project": place.project}}
    other = create_container(place.engine, name, body)
    with (
        pytest.raises(EngineError, match="is taken by another container"),
        volume_helper(*arguments(place), "restore"),
    ):
        pytest.fail("there is no helper")
    assert inspect_container(place.engine, other) is not None


def test_leftovers_are_removed_by_purpose(place: Place):
    made = []
    for purpose in ("backup", "restore", "look"):
        labels = {"com.docker.compose.project": place.project, HELPER_LABEL: purpose}
        body = {"Image": place.image_id, "Labels": labels}
        made.append(create_container(place.engine, f"{place.project}-{purpose}", body))
    remove_helpers(place.engine, place.project, "backup")
    left = [inspect_container(place.engine, each) is not None for each in made]
    assert left == [False, True, True]


def test_a_volume_that_does_not_exist_is_not_made(place: Place):
    with (
        pytest.raises(NotFound, match="There is no volume gone-volume"),
        volume_helper(place.engine, place.project, place.image_id, "gone-volume", "restore"),
    ):
        pytest.fail("there is no helper")
    names = [each["Name"] for each in place.engine.api.volumes()["Volumes"]]
    assert "gone-volume" not in names


def test_an_image_without_a_shell(place: Place):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("file"))
    tag = f"{place.project}-empty:latest"
    place.engine.api.import_image_from_data(buffer.getvalue(), repository=tag)
    image = inspect_image(place.engine, tag)
    assert image is not None
    try:
        empty = (place.engine, place.project, image.id, place.volume, "restore")
        # To look, none is needed.
        with volume_helper(*empty) as helper:
            assert helper.path
        with readable(*empty[:3], {"Type": "volume", "Source": place.volume}) as (identity, _):
            assert identity
        with (
            pytest.raises(OwctlError, match="has no shell"),
            volume_helper(*empty, writable=True, running=True),
        ):
            pytest.fail("nothing runs")
    finally:
        place.engine.api.remove_image(tag, force=True)
    labels = {"label": [HELPER_LABEL, f"com.docker.compose.project={place.project}"]}
    assert place.engine.api.containers(all=True, filters=labels) == []
