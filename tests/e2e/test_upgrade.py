"""Upgrades of a running stack, with a real registry: under load, failing, killed, and back again."""

import http.client
import io
import json
import re
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from tests.e2e.conftest import (
    OWCTL,
    PROJECT_LABEL,
    Project,
    clean_environment,
    free_ports,
    make_project,
    remove_project,
)
from tests.e2e.registry import VERSION_LABEL, Registry, running_registry

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PULLED = ("rust-backend", "frontend")
LOCAL = ("postgres", "redis", "socketio-bridge")
SCALED = ("--scale", "rust-backend=2")
DIES = 'ENTRYPOINT ["sh", "-c", "echo no such option: --frobnicate; exit 3"]'
NEVER_READY = 'ENTRYPOINT ["sh", "-c", "echo soon; exec sleep 1000"]'


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, demo_base_image: str) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry"), free_ports(1)[0]) as found:
        yield found


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, demo_base_image: str, registry: Registry
) -> Iterator[Project]:
    """A stack whose backend and frontend come from the registry, with two backends."""
    project = make_project(tmp_path_factory.mktemp("upgrade") / "stack", demo_base_image)
    client = docker.from_env()
    try:
        project.succeed("rebuild", "--cache", timeout_seconds=900)
        lines = ["services:"]
        for service in (*PULLED, *LOCAL):
            name = registry.name(service)
            repository = name.removesuffix(":latest")
            client.api.tag(f"owctl-demo-{service}:latest", repository, "latest-base")
            client.api.tag(f"owctl-demo-{service}:latest", repository, "latest")
            policy = "" if service in PULLED else ", pull_policy: never"
            lines.append(f"  {service}: {{image: '{name}', build: !reset null{policy}}}")
        (project.directory / "compose.registry.yaml").write_text("\n".join(lines) + "\n")
        files = "compose.yaml:compose.demo.yaml:compose.scale.yaml:compose.registry.yaml"
        settings = project.directory / ".env"
        text = re.sub(r"(?m)^COMPOSE_FILE=.*$", f"COMPOSE_FILE={files}", settings.read_text())
        settings.write_text(text)
        for service in PULLED:
            registry.publish(service, "1.0")
        project.succeed("start", "--pull", *SCALED, timeout_seconds=900)
        yield project
    finally:
        client.close()
        remove_project(project.project)
        forget_kept(project)


def forget_kept(project: Project) -> None:
    client = docker.from_env()
    for image in client.images.list(filters={"reference": f"owctl-rollback/{project.project}/*"}):
        for tag in image.tags:
            if tag.startswith("owctl-rollback/"):
                client.images.remove(tag, force=True)
    client.close()


def versions(project: Project, service: str = "rust-backend") -> list[str]:
    """The versions that a service's running containers say they are."""
    client = docker.from_env()
    try:
        labels = [f"{PROJECT_LABEL}={project.project}", f"com.docker.compose.service={service}"]
        # Whatever runs an image that was built for the project inherits the labels above, not this.
        labels.append("com.docker.compose.oneoff=False")
        found = client.containers.list(filters={"label": labels})
        return sorted(each.labels.get(VERSION_LABEL, each.attrs["Image"]) for each in found)
    finally:
        client.close()


def nothing_to_change(project: Project) -> bool:
    return project.succeed("start", *SCALED, "--dry-run").stdout == "Nothing to change.\n"


def record(project: Project) -> dict:
    return json.loads((project.directory / ".owctl" / "upgrade.json").read_text())


class Load:
    """Requests through the frontend, one after the other in a few threads, until the block ends."""

    def __init__(self, port: int, threads: int = 4) -> None:
        self.port = port
        self.answered = 0
        self.failures: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._over.wait(0.01):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                connection.request("GET", "/api/version")
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    self.answered += 1
                else:
                    self.failures.append(f"HTTP {answer.status}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
            finally:
                connection.close()


def test_two_backends_are_upgraded_and_no_request_fails(stack: Project, registry: Registry):
    assert versions(stack) == ["1.0", "1.0"]
    same = json.loads(stack.succeed("upgrade", "--dry-run", "--json").stdout)
    assert {each["changes"] for each in same["services"]} == {False}

    image = registry.publish("rust-backend", "2.0")
    dry = stack.succeed("upgrade", "--dry-run", "backend").stdout
    assert "the registry has another one" in dry
    assert "1.0" in dry
    assert dry.count("the new one is ready before the old one stops") == 2
    assert versions(stack) == ["1.0", "1.0"]

    with Load(stack.ports["frontend"]) as load:
        result = stack.succeed("upgrade", "backend", "frontend", "--json")
    assert load.failures == []
    assert load.answered > 100
    document = json.loads(result.stdout)
    (service,) = document["services"]
    assert service["service"] == "rust-backend"
    assert (service["before"]["version"], service["after"]["version"]) == ("1.0", "2.0")
    assert service["after"]["image_id"] == image
    assert service["gap_ms"] == 0
    assert stack.succeed("backup", "verify", document["backup"])
    assert versions(stack) == ["2.0", "2.0"]
    assert nothing_to_change(stack)
    again = stack.succeed("upgrade")
    assert "nothing changed" in again.stderr


def test_rollback_stays_and_says_that_the_database_moved(stack: Project):
    stack.succeed("shell", "db", "psql", "-c", "ALTER TABLE chat ADD COLUMN fresh integer")
    refused = stack.owctl("rollback")
    assert refused.returncode == 2
    dry = stack.succeed("rollback", "--dry-run")
    assert "2.0" in dry.stdout
    assert "public.chat.fresh integer" in dry.stderr
    assert "owctl restore " in dry.stderr

    with Load(stack.ports["frontend"]) as load:
        with begin(stack, "rollback", "--yes") as process:
            wait_for(process, lambda: bool(successors(stack, "-2")))
            process.kill()
        assert "`owctl rollback` goes on with it" in stack.succeed("status").stderr
        back = stack.succeed("rollback", "--yes")
    assert load.failures == []
    assert "public.chat.fresh" in back.stderr
    assert versions(stack) == ["1.0", "1.0"]
    assert nothing_to_change(stack)
    started = stack.succeed("start", *SCALED)
    assert "rolled back on" in started.stderr
    assert "nothing changed" in started.stderr
    assert "rust-backend is kept at 1.0" in stack.succeed("status").stderr
    (held,) = status_document(stack)["held"]
    assert (held["service"], held["version"]) == ("rust-backend", "1.0")
    assert held["reason"].startswith("rolled back on ")

    # A rollback of the rollback goes forward again.
    stack.succeed("rollback", "--yes")
    assert versions(stack) == ["2.0", "2.0"]
    assert nothing_to_change(stack)
    assert "kept at" not in stack.succeed("status").stderr


def test_a_new_image_that_is_never_ready_is_taken_back_unnoticed(
    stack: Project, registry: Registry
):
    before = versions(stack)
    registry.publish("rust-backend", "broken", NEVER_READY)
    with Load(stack.ports["frontend"]) as load:
        failed = stack.owctl("upgrade", "backend", "--no-backup", "--yes", "--timeout", "4")
    assert failed.returncode == 1
    assert "was not ready within 4 s" in failed.stderr
    assert "did not take place" in failed.stderr
    assert load.failures == []
    assert versions(stack) == before
    assert nothing_to_change(stack)


def test_a_new_image_that_dies_takes_the_others_back_too(stack: Project, registry: Registry):
    before = (versions(stack), versions(stack, "frontend"))
    registry.publish("rust-backend", "2.1")
    registry.publish("frontend", "broken", DIES)
    planned = stack.succeed("upgrade", "--dry-run", "frontend").stdout
    assert f"two cannot have the host port 0.0.0.0:{stack.ports['frontend']}" in planned
    failed = stack.owctl("upgrade", "--no-backup", "--yes")
    assert failed.returncode == 1
    assert "no such option: --frobnicate" in failed.stderr
    assert "rust-backend, frontend run the image of before again" in failed.stderr
    assert (versions(stack), versions(stack, "frontend")) == before
    assert nothing_to_change(stack)
    assert record(stack)["under_way"] is None
    assert set(record(stack)["held"]) == {"rust-backend", "frontend"}
    stack.succeed("health")


def test_what_cannot_be_had_changes_nothing(stack: Project, registry: Registry):
    before = (record(stack)["held"], versions(stack), versions(stack, "frontend"))
    assert versions(stack) == ["2.0", "2.0"]
    client = docker.from_env()
    tag_before = client.images.get(registry.name("frontend")).id
    registry.publish("frontend", "3.0")
    registry.publish("rust-backend", "3.0")
    override = stack.directory / "compose.absent.yaml"
    override.write_text(
        f"services:\n  rust-backend: {{image: '{registry.address}/stack/nothing:latest'}}\n"
    )
    files = ["compose.yaml", "compose.demo.yaml", "compose.scale.yaml", "compose.registry.yaml"]
    flags = [word for name in (*files, override.name) for word in ("-f", name)]
    failed = stack.owctl(*flags, "upgrade", "backend", "frontend")
    assert failed.returncode == 1
    assert "Nothing was upgraded." in failed.stderr
    # Without an answer, a backup is not left out either.
    assert stack.owctl("upgrade", "--no-backup").returncode == 2
    (stack.directory / "backups").rename(stack.directory / "kept")
    (stack.directory / "backups").write_text("no folder")
    no_backup = stack.owctl("upgrade", "backend", "frontend")
    (stack.directory / "backups").unlink()
    (stack.directory / "kept").rename(stack.directory / "backups")
    assert no_backup.returncode == 1
    assert "Nothing was upgraded." in no_backup.stderr
    assert client.images.get(registry.name("frontend")).id == tag_before
    client.close()
    assert (record(stack)["held"], versions(stack), versions(stack, "frontend")) == before
    assert nothing_to_change(stack)


def test_a_damaged_record_stops_what_changes_something_and_nothing_else(stack: Project):
    path = stack.directory / ".owctl" / "upgrade.json"
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    try:
        for arguments in (["status"], ["health"], ["logs", "--tail", "1"], ["status", "--json"]):
            looked = stack.succeed(*arguments)
            assert "upgrade.json, is damaged" in looked.stderr
            assert looked.stdout
        assert stack.succeed("backup", "--only", "config").stdout
        refused = stack.owctl("start", *SCALED)
        assert refused.returncode == 1
        assert ".damaged" in refused.stderr
        assert path.read_text() == whole[: len(whole) // 2]
    finally:
        path.write_text(whole)


def status_document(project: Project) -> dict:
    return json.loads(project.succeed("status", "--json").stdout)


def begin(project: Project, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(OWCTL), *arguments],
        cwd=project.directory,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def wait_for(process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not reached():
        assert process.poll() is None, "owctl ended before it came there"
        assert time.monotonic() < deadline


def successors(project: Project, ending: str = "") -> list[str]:
    client = docker.from_env()
    filters = {"label": f"{PROJECT_LABEL}={project.project}"}
    found = client.api.containers(all=True, filters=filters)
    client.close()
    names = [each["Names"][0].lstrip("/") for each in found]
    return [name for name in names if re.match("[0-9a-f]{12}_", name) and name.endswith(ending)]


def test_killed_while_it_replaces_it_is_gone_on_with(stack: Project, registry: Registry):
    before = versions(stack)
    registry.publish("rust-backend", "4.0")
    with begin(stack, "upgrade", "backend") as process:
        wait_for(process, lambda: bool(successors(stack, "-2")))
        process.kill()
    assert "is not finished" in stack.succeed("status").stderr
    unfinished = status_document(stack)["unfinished_upgrade"]
    assert (unfinished["kind"], unfinished["services"]) == ("upgrade", ["rust-backend"])
    # Until it is finished, the images of before count.
    started = stack.succeed("start", *SCALED)
    assert "was interrupted" in started.stderr
    assert versions(stack) == before
    assert successors(stack) == []
    backup_id = record(stack)["under_way"]["upgrade"]["backup_id"]
    done = stack.succeed("upgrade", "backend")
    assert f"The backup of before was made already: {backup_id}" in done.stderr
    assert versions(stack) == ["4.0", "4.0"]
    assert record(stack)["under_way"] is None
    assert nothing_to_change(stack)
    stack.succeed("health")


def test_killed_while_it_replaces_it_is_rolled_back(stack: Project, registry: Registry):
    before = versions(stack)
    registry.publish("rust-backend", "5.0")
    with begin(stack, "upgrade", "backend", "--no-backup", "--yes") as process:
        wait_for(process, lambda: bool(successors(stack, "-2")))
        process.send_signal(signal.SIGSTOP)
        # Where it was only created, it is as if owctl had come one step further.
        (name,) = successors(stack, "-2")
        client = docker.from_env()
        successor = client.containers.get(name)
        successor.start()
        wait_for(process, lambda: b"Listening on" in successor.logs())
        process.kill()
    since = int(time.time())
    with Load(stack.ports["frontend"]) as load:
        stack.succeed("rollback", "--yes")
    assert load.failures == []
    # The one too many served already: it was let end what it had begun.
    filters = {"container": successor.id, "event": ["kill", "die"]}
    ends = client.events(since=since, until=int(time.time()) + 1, filters=filters, decode=True)
    signals = [each["Actor"]["Attributes"].get("signal") for each in ends]
    client.close()
    assert signals[0] == "15"
    assert "9" not in signals
    assert versions(stack) == before
    assert successors(stack) == []
    assert record(stack)["under_way"] is None
    assert nothing_to_change(stack)


def test_killed_before_it_replaces_leaves_nothing(stack: Project, registry: Registry):
    registry.publish("frontend", "6.0")
    client = docker.from_env()
    tag_before = client.images.get(registry.name("frontend")).id
    with begin(stack, "upgrade", "frontend") as process:
        wait_for(process, lambda: client.images.get(registry.name("frontend")).id != tag_before)
        process.kill()
    started = stack.succeed("start", *SCALED)
    assert "nothing changed" in started.stderr
    assert client.images.get(registry.name("frontend")).id == tag_before
    assert record(stack)["under_way"] is None
    client.close()


def test_interrupted_it_goes_back_and_keeps_others_out_meanwhile(
    stack: Project, registry: Registry
):
    before = versions(stack)
    registry.publish("rust-backend", "7.0")
    with begin(stack, "upgrade", "backend", "--no-backup", "--yes") as process:
        wait_for(process, lambda: bool(successors(stack, "-2")))
        other = stack.owctl("upgrade", "backend", "--no-backup", "--yes")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert other.returncode == 8
    assert process.returncode == 130, said
    assert b"did not take place" in said
    assert versions(stack) == before
    assert successors(stack) == []
    assert nothing_to_change(stack)


@pytest.fixture
def small(tmp_path: Path, demo_base_image: str) -> Iterator[Project]:
    """A project of one service without a database, in three versions that .env chooses from."""
    name = f"owctl-test-{secrets.token_hex(4)}"
    project = Project(tmp_path / "small", name, {})
    project.directory.mkdir()
    client = docker.from_env()
    for version in (1, 2, 3):
        text = f"FROM {demo_base_image}\nLABEL {VERSION_LABEL}={version}\nCMD sleep 1000\n"
        client.images.build(fileobj=io.BytesIO(text.encode()), tag=f"{name}:{version}", rm=True)
    (project.directory / "compose.yaml").write_text(
        f"name: {name}\nservices:\n"
        f"  web: {{image: '{name}:${{VERSION}}', pull_policy: never, init: true}}\n"
    )
    (project.directory / ".env").write_text("VERSION=1\n")
    try:
        yield project
    finally:
        remove_project(name)
        forget_kept(project)
        for version in (1, 2, 3):
            client.images.remove(f"{name}:{version}", force=True)
        client.close()


def test_an_image_named_in_the_settings_is_rolled_back_until_they_name_another(small: Project):
    def choose(version: int) -> None:
        (small.directory / ".env").write_text(f"VERSION={version}\n")

    small.succeed("start")
    choose(2)
    document = json.loads(small.succeed("upgrade", "--json").stdout)
    assert document["services"][0]["gap_ms"] > 0
    assert (small.directory / "backups" / document["backup"]).is_dir()
    assert versions(small, "web") == ["2"]
    small.succeed("rollback", "--yes")
    assert versions(small, "web") == ["1"]
    assert small.succeed("start", "--dry-run").stdout == "Nothing to change.\n"
    # It is made anew from the same image, too.
    small.succeed("stop")
    small.succeed("start")
    assert versions(small, "web") == ["1"]
    choose(3)
    assert "image" in small.succeed("start", "--dry-run").stdout
    small.succeed("start")
    assert versions(small, "web") == ["3"]
    assert "kept at" not in small.succeed("status").stderr
