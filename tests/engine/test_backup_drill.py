"""The drill: what can be restored passes, what cannot is named, and nothing is left of it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from backup_project import DATABASE, Project
from engine_helpers import wait_until

from owctl.backup import catalogue
from owctl.backup import manifest as manifests
from owctl.backup.create.capture import BackupRequest, CreatedBackup
from owctl.backup.create.run import create_backup
from owctl.backup.drill import check_engine_room, drill
from owctl.backup.manifest import Manifest
from owctl.backup.member_file import MemberFile
from owctl.backup.verify import verify_member
from owctl.engine.connection import Engine
from owctl.engine.volumes import inspect_volume
from owctl.errors import BackupInvalid, ImageMissing, OwctlError
from owctl.postgres.server import DRILL
from owctl.progress import Event
from owctl.volumes.one_off import HELPER_LABEL

pytestmark = pytest.mark.engine
# PostgreSQL does not take it, and reading it back cannot tell.
MISTAKE = (b"CREATE TABLE public.chat", b"CREATE TABLF public.chat")
OWCTL = Path(sys.executable).parent / "owctl"


@pytest.fixture(scope="module")
def project(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(engine, tmp_path_factory.mktemp("drilled"))
    try:
        project.start_database()
        yield project
    finally:
        project.remove()


@pytest.fixture(scope="module")
def created(engine: Engine, project: Project) -> CreatedBackup:
    return create_backup(engine, project.stack, BackupRequest(parts=frozenset({"db"})))


def ignore(_: Event) -> None:
    pass


def drilled(engine: Engine, project: Project, created: CreatedBackup, manifest: Manifest):
    return drill(engine, project.name, created.path, manifest, ignore)


def with_detail(created: CreatedBackup, **detail: object) -> Manifest:
    (member,) = created.manifest.members
    changed = replace(member, detail={**member.detail, **detail})
    return replace(created.manifest, members=(changed,))


def servers(engine: Engine, project: Project) -> list[dict]:
    labels = [f"com.docker.compose.project={project.name}", f"{HELPER_LABEL}={DRILL}"]
    return engine.api.containers(all=True, filters={"label": labels})


def volumes_of(engine: Engine, project: Project) -> list[str]:
    return [
        mount["Name"]
        for each in servers(engine, project)
        for mount in engine.api.inspect_container(each["Id"])["Mounts"]
    ]


def test_a_sound_backup_passes_and_nothing_is_left(engine, project, created) -> None:
    seen: list[dict] = []
    volumes: list[str] = []

    def receive(event: Event) -> None:
        if event.text == "restoring" and not seen:
            seen.extend(engine.api.inspect_container(e["Id"]) for e in servers(engine, project))
            volumes.extend(volumes_of(engine, project))

    report = drill(engine, project.name, created.path, created.manifest, receive)
    assert report.problems == ()
    assert (report.tables, report.rows) == (3, 2052)
    assert report.postgres_version is not None
    assert report.postgres_version.startswith("15.")
    assert report.image == "owctl-demo-postgres:latest"
    (server,) = seen
    assert server["HostConfig"]["NetworkMode"] == "none"
    assert server["Config"]["Labels"]["com.docker.compose.oneoff"] == "True"
    assert DATABASE["POSTGRES_PASSWORD"] not in json.dumps(server["Config"])
    assert servers(engine, project) == []
    assert len(volumes) == 1
    assert inspect_volume(engine, volumes[0]) is None


def test_other_counts_than_the_manifests_are_named(engine, project, created) -> None:
    rows = {**created.manifest.members[0].detail["rows"], "public.chat": 1999, "public.gone": 0}
    report = drilled(engine, project, created, with_detail(created, rows=rows))
    assert len(report.problems) == 2
    assert "public.chat has 2000 rows when restored, and had 1999" in report.problems[0]
    assert "public.gone has no rows" in report.problems[1]


def test_an_older_server_is_refused_and_that_is_not_the_backups_fault(
    engine, project, created
) -> None:
    newer = with_detail(created, server_version="99.1", server_version_number=990001)
    with pytest.raises(OwctlError, match=r"dump is of PostgreSQL 99\.1") as caught:
        drilled(engine, project, created, newer)
    assert not isinstance(caught.value, BackupInvalid)
    assert servers(engine, project) == []


def test_another_encoding_and_an_unknown_locale(engine, project, created, tmp_path) -> None:
    other = with_detail(created, encoding="LATIN1", collation="xx_XX.nowhere")
    created = replace(created, manifest=other)
    manifest = with_another_dump(created, tmp_path, b"LOCALE = 'C.UTF-8'", b"LOCALE = 'xx_XX.8'")
    assert drill(engine, project.name, tmp_path, manifest, ignore).problems == ()


def with_another_dump(created: CreatedBackup, folder: Path, said: bytes, says: bytes) -> Manifest:
    """Store a dump with other SQL of the same length in it, and describe it as it is."""
    (member,) = created.manifest.members
    stored_bytes = (created.path / member.name).read_bytes()
    content = zstandard.ZstdDecompressor().stream_reader(stored_bytes).read()
    broken = content.replace(said, says)
    assert broken != content
    with MemberFile(folder, member.name) as file:
        file.write(broken)
        stored = file.finish()
    member = replace(member, size_bytes=stored.size_bytes, sha256=stored.sha256)
    # Reading it back cannot tell: every byte and every row is what the manifest says.
    verify_member(folder, member)
    return replace(created.manifest, id=folder.name, members=(member,))


def test_what_postgresql_does_not_take_is_the_backups_fault(
    engine, project, created, tmp_path
) -> None:
    manifest = with_another_dump(created, tmp_path, *MISTAKE)
    report = drill(engine, project.name, tmp_path, manifest, ignore)
    (problem,) = report.problems
    assert "could not be restored" in problem
    assert "syntax error" in problem


def test_an_image_that_is_nowhere(engine, project, created) -> None:
    manifest = replace(created.manifest, services={})
    with pytest.raises(OwctlError, match="no PostgreSQL image"):
        drilled(engine, project, created, manifest)
    seen: list[str] = []
    with pytest.raises(ImageMissing):
        drill(
            engine,
            project.name,
            created.path,
            manifest,
            lambda event: seen.append(event.text),
            configured_image="localhost:1/owctl-test/none:1",
        )
    assert seen == ["pulling, it is not on this machine"]


def test_an_image_that_is_no_postgresql_shows_its_last_words(
    engine, project, created, base_image
) -> None:
    manifest = replace(created.manifest, services={"postgres": {"image": base_image}})
    with pytest.raises(OwctlError, match="PostgreSQL of the drill"):
        drilled(engine, project, created, manifest)
    assert servers(engine, project) == []


def test_a_disk_that_would_be_filled_up_is_spared(engine) -> None:
    check_engine_room(engine, 1000)
    with pytest.raises(OwctlError, match="not enough space for the drill"):
        check_engine_room(engine, 1 << 50)


def start_owctl(project: Project, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [OWCTL, "-C", project.folder, "-p", project.name, "backup", "verify", *arguments],
        env={**os.environ, "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_drills_and_writes_it_down(engine, project, created) -> None:
    process = start_owctl(project, "--drill", "--json")
    output, complaints = process.communicate(timeout=110)
    assert process.returncode == 0, complaints
    (backup,) = json.loads(output)["backups"]
    assert backup["status"] == "ok"
    assert (backup["drill"]["tables"], backup["drill"]["rows"]) == (3, 2052)
    record = catalogue.read_record(created.path)
    assert record is not None
    assert record.drill


def test_a_failed_drill_is_7_and_stays_known(engine, project, created, tmp_path) -> None:
    folder = tmp_path / "20250101T000000Z-ffffff"
    folder.mkdir()
    manifest = with_another_dump(created, folder, *MISTAKE)
    (folder / "manifest.json").write_bytes(manifests.dump(manifest))
    process = start_owctl(project, "--output", str(tmp_path))
    _, complaints = process.communicate(timeout=110)
    assert process.returncode == 0, complaints
    process = start_owctl(project, "--drill", "--output", str(tmp_path))
    _, complaints = process.communicate(timeout=110)
    assert process.returncode == 7, complaints
    assert "syntax error" in complaints
    record = catalogue.read_record(folder)
    assert record is not None
    assert (record.status, record.drill) == ("failed", True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_drill_leaves_nothing(engine, project, created, number) -> None:
    process = start_owctl(project, "--drill")
    wait_until(lambda: bool(servers(engine, project)), "the server is there", 60)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert servers(engine, project) == []


def test_what_a_killed_drill_left_goes_with_the_next_one(engine, project, created) -> None:
    process = start_owctl(project, "--drill")

    # One that is just being made is listed before it can be inspected.
    def running() -> bool:
        return any(each["State"] == "running" for each in servers(engine, project))

    wait_until(running, "the server runs", 60)
    (left,) = servers(engine, project)
    (volume,) = volumes_of(engine, project)
    process.kill()
    process.communicate(timeout=60)
    assert [each["Id"] for each in servers(engine, project)] == [left["Id"]]
    assert drilled(engine, project, created, created.manifest).problems == ()
    assert servers(engine, project) == []
    assert inspect_volume(engine, volume) is None


def test_two_drills_of_a_project_at_once(engine, project, created) -> None:
    first = start_owctl(project, "--drill")
    wait_until(lambda: bool(servers(engine, project)), "the server is there", 60)
    second = start_owctl(project, "--drill")
    _, complaints = second.communicate(timeout=60)
    _, first_complaints = first.communicate(timeout=60)
    assert second.returncode == 8, complaints
    assert "backup verify --drill" in complaints
    assert first.returncode == 0, first_complaints
