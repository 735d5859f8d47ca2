"""``owctl clean`` beside another project on the same engine: what goes, and what must not be touched."""

import contextlib
import hashlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import docker.errors
import pytest
from conftest import PROJECT_LABEL, remove_everything
from engine_helpers import wait_until

from owctl.engine.connection import Engine

pytestmark = pytest.mark.engine

COMMAND = [sys.executable, "-m", "owctl"]
ANONYMOUS = "/anonymous"
# "slow" is deaf to SIGTERM, so that a clean takes its whole second of grace for it.
COMPOSE = """
name: {name}
services:
  slow:
    image: {image}
    command: ["sleep", "3600"]
    stop_grace_period: 2s
    volumes: ["data:/data", "shared:/shared", "/anonymous"]
  web:
    image: {image}
    command: ["sleep", "3600"]
    init: true
    depends_on: [slow]
    volumes: ["{folder}/host:/host"]
volumes:
  data:
  shared: {{name: {shared}, external: true}}
"""


class Place:
    """A project of two services in a folder of its own."""

    def __init__(self, engine: Engine, folder: Path, image: str, shared: str) -> None:
        self.engine = engine
        self.folder = folder
        self.name = f"owctl-test-{secrets.token_hex(4)}"
        self.image = image
        (folder / "host").mkdir(parents=True)
        (folder / "host" / "file").write_text("of the host")
        (folder / ".env").write_text("A=1\n")
        text = COMPOSE.format(name=self.name, image=image, folder=folder, shared=shared)
        (folder / "compose.yaml").write_text(text)

    def owctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *words],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def succeed(self, *words: str) -> subprocess.CompletedProcess[str]:
        result = self.owctl(*words)
        assert result.returncode == 0, f"{words}\n{result.stdout}\n{result.stderr}"
        return result

    def start(self) -> None:
        self.succeed("start", "--no-wait")
        self.write(f"the data of {self.name}")

    def write(self, text: str) -> None:
        identity = self.engine.api.exec_create(
            f"{self.name}-slow-1", ["sh", "-c", f"echo '{text}' >/data/file"]
        )["Id"]
        self.engine.api.exec_start(identity)

    def containers(self) -> dict[str, str]:
        found = self.engine.api.containers(all=True, filters=self.labelled)
        return {item["Names"][0].lstrip("/"): item["Id"] for item in found}

    def volumes(self) -> list[str]:
        found = self.engine.api.volumes(filters=self.labelled)["Volumes"] or []
        return sorted(item["Name"] for item in found)

    def networks(self) -> list[str]:
        return sorted(item["Name"] for item in self.engine.api.networks(filters=self.labelled))

    @property
    def labelled(self) -> dict[str, str]:
        return {"label": f"{PROJECT_LABEL}={self.name}"}

    def is_gone(self) -> bool:
        return not (self.containers() or self.volumes() or self.networks())

    def state(self) -> object:
        """Everything that would show that somebody touched the project."""
        api = self.engine.api
        containers = [api.inspect_container(c) for c in sorted(self.containers().values())]
        stream, _ = api.get_archive(f"{self.name}-slow-1", "/data/file")
        return {
            "containers": [
                (c["Id"], c["State"]["StartedAt"], c["RestartCount"], _sorted(c["Mounts"]))
                for c in containers
            ],
            "networks": [
                (n["Id"], n["Containers"])
                for n in (api.inspect_network(name) for name in self.networks())
            ],
            "volumes": [api.inspect_volume(name) for name in self.volumes()],
            "data": hashlib.sha256(b"".join(stream)).hexdigest(),
        }

    def run_beside(self, name: str, project: str = "", *, volume: str = "", **labels: str) -> str:
        """Create a container by hand, with labels or without, that mounts a volume."""
        body = {
            "Image": self.image,
            "Cmd": ["sleep", "3600"],
            "Labels": {**({PROJECT_LABEL: project} if project else {}), **labels},
            "HostConfig": {
                "Binds": [f"{volume}:/v"] if volume else [],
                "NetworkMode": "none",
                "Init": True,
            },
        }
        made = self.engine.api.create_container_from_config(body, name=name)
        self.engine.api.start(made["Id"])
        return str(made["Id"])


@pytest.fixture
def shared(engine: Engine) -> Iterator[str]:
    """A volume that is nobody's."""
    name = f"owctl-test-shared-{secrets.token_hex(4)}"
    engine.api.create_volume(name)
    yield name
    engine.api.remove_volume(name, force=True)


@pytest.fixture
def image(engine: Engine, base_image: str) -> Iterator[str]:
    """An image of the tests' own: others need the base image, and may run it."""
    name = f"owctl-test-image-{secrets.token_hex(4)}:1"
    made = engine.api.create_container(base_image, ["true"])
    engine.api.commit(made["Id"], *name.split(":"))
    engine.api.remove_container(made["Id"])
    yield name
    with contextlib.suppress(docker.errors.ImageNotFound):
        engine.api.remove_image(name)


@pytest.fixture
def places(
    engine: Engine, tmp_path: Path, image: str, shared: str
) -> Iterator[tuple[Place, Place]]:
    """Two running projects of the same images; the second one is to be left alone."""
    both = tuple(Place(engine, tmp_path / name, image, shared) for name in ("one", "other"))
    try:
        for place in both:
            place.start()
        yield both
    finally:
        for place in both:
            remove_everything(engine, place.name)


@pytest.fixture
def place(engine: Engine, tmp_path: Path, image: str, shared: str) -> Iterator[Place]:
    made = Place(engine, tmp_path / "one", image, shared)
    try:
        made.start()
        yield made
    finally:
        remove_everything(engine, made.name)


def _sorted(mounts: list[dict]) -> list[dict]:
    # The engine lists them in any order.
    return sorted(mounts, key=lambda mount: mount["Destination"])


def exists(engine: Engine, volume: str) -> bool:
    try:
        engine.api.inspect_volume(volume)
    except docker.errors.NotFound:
        return False
    return True


def test_one_of_two_projects_is_cleaned_and_the_other_is_untouched(
    engine: Engine, places: tuple[Place, Place], shared: str
):
    mine, other = places
    mounts = engine.api.inspect_container(f"{mine.name}-slow-1")["Mounts"]
    anonymous = next(m["Name"] for m in mounts if m["Destination"] == ANONYMOUS)
    oneoff = {"com.docker.compose.oneoff": "True", "com.docker.compose.service": "slow"}
    mine.run_beside(f"{mine.name}-helper", mine.name, volume=f"{mine.name}_data", **oneoff)
    mine.run_beside(f"{mine.name}-orphan", mine.name, **{"com.docker.compose.service": "gone"})
    before = other.state()

    listed = json.loads(mine.succeed("clean", "--dry-run", "--images", "--json").stdout)
    assert {item["name"] for item in listed["containers"]} == mine.containers().keys()
    assert len(listed["containers"]) == 4
    assert {item["name"] for item in listed["volumes"]} == {f"{mine.name}_data", anonymous}
    sizes = {item["name"]: item["size_bytes"] for item in listed["volumes"]}
    assert sizes[f"{mine.name}_data"] == len(f"the data of {mine.name}\n")
    assert [item["name"] for item in listed["networks"]] == [f"{mine.name}_default"]
    assert listed["images"] == []
    why = {(item["kind"], item["name"]): item["why"] for item in listed["kept"]}
    assert why[("volume", shared)] == "external"
    assert ("folder", f"{mine.folder}/host") in why
    assert any(kind == "image" and "used by" in text for (kind, _), text in why.items())
    assert len(mine.containers()) == 4

    cleaned = mine.succeed("clean", "--yes", "--images", "--json")
    assert json.loads(cleaned.stdout) == listed | {"dry_run": False}
    assert mine.is_gone()
    assert not exists(engine, anonymous)
    assert exists(engine, shared)
    assert (mine.folder / "host" / "file").read_text() == "of the host"
    assert (mine.folder / ".env").exists()
    assert other.state() == before
    assert '"command": "clean"' in (mine.folder / ".owctl" / "history.jsonl").read_text()
    assert "nothing of" in mine.succeed("clean").stdout


def test_nothing_goes_without_a_yes_and_what_stays_is_named(place: Place):
    before = place.state()
    refused = place.owctl("clean")
    assert refused.returncode == 2
    assert f"{place.name}_data" in refused.stdout
    assert "--yes" in refused.stderr
    assert place.owctl("clean", "--json").returncode == 2
    assert place.owctl("clean", "--json").stdout == ""
    assert place.state() == before


def test_the_name_is_asked_for_on_a_terminal(place: Place):
    before = place.state()
    output, code = on_a_terminal(place, ["[Y/n]", "n\n"], ["remove all that:", "yes\n"])
    assert code == 2
    assert "There is no verified backup" in output
    assert "nothing was removed" in output
    # An end of the input is no consent either.
    _, code = on_a_terminal(place, ["[Y/n]", "\x04"], ["remove all that:", "\x04"])
    assert code == 2
    assert place.state() == before
    _, code = on_a_terminal(place, ["[Y/n]", "n\n"], ["remove all that:", f"{place.name}\n"])
    assert code == 0
    assert place.is_gone()


def test_a_backup_that_fails_stops_the_clean(place: Place):
    # The stack has no database, so there is nothing that a backup could be made of.
    before = place.state()
    failed = place.owctl("clean", "--yes", "--backup")
    assert failed.returncode != 0
    assert "Nothing was removed" in failed.stderr
    assert place.state() == before


def test_data_that_another_project_uses_stays_and_so_does_what_has_no_label(
    engine: Engine, places: tuple[Place, Place]
):
    mine, other = places
    network = f"{mine.name}_default"
    stranger = other.run_beside(f"{other.name}-guest", other.name, volume=f"{mine.name}_data")
    engine.api.disconnect_container_from_network(stranger, "none")
    engine.api.connect_container_to_network(stranger, network)
    engine.api.stop(stranger, timeout=1)
    (mine.folder / ".owctl" / "restore.json").write_text("{}")
    result = json.loads(mine.succeed("clean", "--yes", "--json").stdout)
    why = {item["name"]: item["why"] for item in result["kept"]}
    assert f"{other.name}-guest of {other.name}" in why[f"{mine.name}_data"]
    assert f"{other.name}-guest" in why[network]
    assert mine.volumes() == [f"{mine.name}_data"]
    assert mine.networks() == [network]
    assert mine.containers() == {}
    # What the restore kept may be in the volume that stays.
    assert (mine.folder / ".owctl" / "restore.json").exists()
    engine.api.remove_container(stranger, force=True)
    assert "restore is not finished" in mine.succeed("clean", "--yes").stdout
    assert mine.is_gone()
    assert not (mine.folder / ".owctl" / "restore.json").exists()


def test_a_project_of_another_folder_is_refused(place: Place, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "compose.yaml").write_text((place.folder / "compose.yaml").read_text())
    before, own = place.state(), place.folder
    place.folder = elsewhere
    for words in (["clean", "--yes"], ["clean", "--dry-run"]):
        refused = place.owctl(*words)
        assert refused.returncode == 1
        assert f"was made from {own}" in refused.stderr
        assert "owctl clean --adopt" in refused.stderr
    assert place.state() == before
    place.succeed("clean", "--yes", "--adopt")
    assert place.is_gone()


def test_keep_volumes_keeps_the_data(engine: Engine, place: Place):
    data = engine.api.inspect_volume(f"{place.name}_data")
    shown = place.succeed("clean", "--yes", "--keep-volumes").stdout
    assert "--keep-volumes" in shown
    assert place.containers() == {}
    assert place.networks() == []
    assert engine.api.inspect_volume(f"{place.name}_data") == data
    place.succeed("start", "--no-wait")
    stream, _ = engine.api.get_archive(f"{place.name}-slow-1", "/data/file")
    assert f"the data of {place.name}".encode() in b"".join(stream)


@pytest.mark.parametrize("stage", ["containers", "networks", "volumes"])
def test_a_killed_clean_is_finished_by_the_next_one(places: tuple[Place, Place], stage: str):
    mine, other = places
    before = other.state()
    parts = {"containers": mine.containers, "networks": mine.networks, "volumes": mine.volumes}
    count = len(parts[stage]())
    process = subprocess.Popen(
        [*COMMAND, "clean", "--yes"],
        cwd=mine.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        wait_until(lambda: len(parts[stage]()) < count, f"the first of the {stage} is gone", 60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    if stage == "containers":
        # The one that is deaf takes its time, so the kill came in the middle for certain.
        assert process.returncode == -signal.SIGKILL
        assert mine.volumes() == [f"{mine.name}_data"]
    mine.succeed("clean", "--yes")
    assert mine.is_gone()
    assert other.state() == before


def test_a_failure_in_the_middle_says_what_went_and_what_is_left(engine: Engine, place: Place):
    # Somebody takes the data into use after the list was made: while the deaf one is stopped.
    process = subprocess.Popen(
        [*COMMAND, "clean", "--yes"],
        cwd=place.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: len(place.containers()) == 1, "the first container is gone", 60)
    guest = place.run_beside(f"{place.name}-guest", volume=f"{place.name}_data")
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        engine.api.remove_container(guest, force=True)
    assert process.returncode == 1
    assert f"removed: containers {place.name}-slow-1, {place.name}-web-1" in errors
    assert f"left: volume {place.name}_data" in errors.replace(f"volumes {place.name}", "volume")
    assert "Try: " in errors
    place.succeed("clean", "--yes")
    assert place.is_gone()


def test_images_of_this_project_alone_go(engine: Engine, place: Place, base_image: str):
    built, further = f"{place.name}-gone", f"elsewhere/{place.name}:1"
    body = {"Image": place.image, "Cmd": ["true"], "Labels": {PROJECT_LABEL: place.name}}
    made = engine.api.create_container_from_config(body, name=f"{place.name}-maker")
    # As if it had been built for a service that is in no file any more.
    engine.api.commit(made["Id"], repository=built, tag="latest")
    engine.api.remove_container(made["Id"])
    engine.api.tag(built, *further.split(":"))
    identity = engine.api.inspect_image(built)["Id"]
    try:
        listed = json.loads(place.succeed("clean", "--images", "--json", "--yes").stdout)
        notes = {item["name"]: item["note"] for item in listed["images"]}
        assert notes == {
            f"{built}:latest": f"the name only; also called {further}",
            place.image: "",
        }
        for name in (built, place.image):
            with pytest.raises(docker.errors.ImageNotFound):
                engine.api.inspect_image(name)
        assert engine.api.inspect_image(further)["Id"] == identity
        assert engine.api.inspect_image(base_image)
    finally:
        engine.api.remove_image(further, force=True)


def on_a_terminal(place: Place, *dialogue: list[str]) -> tuple[str, int]:
    """Run clean on a pseudo-terminal; each pair is what is waited for, and what is typed then."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [*COMMAND, "clean"], cwd=place.folder, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown, pending = "", [tuple(pair) for pair in dialogue]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 0.5)[0]:
                continue
            try:
                piece = os.read(ours, 4096)
            except OSError:
                break
            shown += piece.decode(errors="replace")
            if pending and pending[0][0] in shown:
                os.write(ours, pending.pop(0)[1].encode())
        code = process.wait(timeout=30)
    os.close(ours)
    assert not pending, shown
    return shown, code
