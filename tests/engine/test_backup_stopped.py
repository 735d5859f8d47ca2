"""A stopped stack is backed up: what that needs is started, and stopped again on every way out."""

import dataclasses
import signal
from collections.abc import Iterator

import pytest
from backup_project import Project
from interlude_project import (
    CHATS,
    backups,
    fill,
    finished,
    history,
    owctl,
    recorded,
    states,
    wait_for_dump,
)

from owctl.backup.create.run import BackupRequest, create_backup
from owctl.backup.verify import verify_backup
from owctl.engine.connection import Engine
from owctl.errors import OwctlError
from owctl.progress import Event

pytestmark = pytest.mark.engine

SERVICES = ("postgres", "redis", "rust-backend")


@pytest.fixture(scope="module")
def made(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(engine, tmp_path_factory.mktemp("folder"))
    try:
        fill(project)
        yield project
    finally:
        project.remove()


@pytest.fixture
def project(made: Project) -> Project:
    """All containers exist, and none runs."""
    existing = states(made)
    for service in SERVICES:
        if service not in existing:
            made.start(service)
        made.engine.api.stop(made.containers[service], timeout=10)
    for path in (made.folder / "backups").glob("*"):
        path.rename(made.folder / f"old-{path.name}")
    return made


def remove_containers(made: Project) -> None:
    """Leave the volumes, as `owctl stop` does."""
    for service in SERVICES:
        made.engine.api.remove_container(made.containers[service], force=True)


def in_the_dump(event: Event) -> bool:
    return event.kind == "member" and event.text == "writing" and event.done > 0


def test_it_starts_the_database_alone_and_stops_it_again(engine: Engine, project: Project) -> None:
    seen: list[dict[str, str]] = []

    def receive(event: Event) -> None:
        if in_the_dump(event) and not seen:
            seen.append(states(project))

    created = create_backup(engine, project.stack, BackupRequest(), receive)
    assert seen == [{"postgres": "running", "redis": "exited", "rust-backend": "exited"}]
    assert states(project) == dict.fromkeys(SERVICES, "exited")
    assert created.failures == ()
    assert created.manifest.warnings == ()
    verify_backup(created.path, created.manifest)
    assert created.manifest.members[0].detail["rows"]["public.chat"] == CHATS
    assert recorded(project) is None


def test_without_containers_the_database_is_created_and_removed(
    engine: Engine, project: Project
) -> None:
    remove_containers(project)
    created = create_backup(engine, project.stack, BackupRequest())
    assert states(project) == {}
    assert created.failures == ()
    assert set(created.manifest.services) == set(SERVICES)
    assert [member.name for member in created.manifest.members][:3] == [
        "postgres.dump.zst",
        "volumes/redis_data.tar.zst",
        "volumes/rust_backend_data.tar.zst",
    ]
    assert created.manifest.members[0].detail["rows"]["public.chat"] == CHATS
    labelled = {"label": f"com.docker.compose.project={project.name}"}
    assert engine.api.networks(filters=labelled) == []
    assert len(engine.api.volumes(filters=labelled)["Volumes"]) == 3
    assert recorded(project) is None


@pytest.mark.parametrize("exists", [True, False])
def test_a_dry_run_tells_it_and_does_nothing(project: Project, exists: bool) -> None:
    if not exists:
        remove_containers(project)
    before = states(project)
    code, stdout, stderr = finished(project, "backup", "--dry-run")
    assert code == 0, stderr
    lines = stdout.splitlines()
    name = f"{project.name}-fixed-postgres"
    assert lines[0] == (f"start {name}" if exists else "create and start postgres")
    assert lines[-1] == (f"stop {name} again" if exists else "stop and remove postgres again")
    assert f"archive the volume {project.name}_redis_data (redis)" in lines
    assert states(project) == before
    assert backups(project) == []
    assert recorded(project) is None


def test_files_alone_start_nothing(engine: Engine, project: Project) -> None:
    remove_containers(project)
    request = BackupRequest(parts=frozenset({"files"}))
    events: list[Event] = []
    created = create_backup(engine, project.stack, request, events.append)
    assert [m.name for m in created.manifest.members] == ["volumes/rust_backend_data.tar.zst"]
    assert created.manifest.stack["parts"] == ["files"]
    assert all(event.kind == "member" for event in events)


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OwctlError("anything")])
def test_an_error_stops_it_again(
    engine: Engine, project: Project, exists: bool, error: BaseException
) -> None:
    if not exists:
        remove_containers(project)

    def receive(event: Event) -> None:
        if in_the_dump(event):
            assert states(project)["postgres"] == "running"
            raise error

    with pytest.raises(type(error)):
        create_backup(engine, project.stack, BackupRequest(), receive)
    assert states(project) == (dict.fromkeys(SERVICES, "exited") if exists else {})
    assert recorded(project) is None
    assert backups(project) == []


def test_a_signal_stops_it_again(project: Project) -> None:
    process = owctl(project, "backup")
    wait_for_dump(project, process)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert states(project) == dict.fromkeys(SERVICES, "exited")
    assert recorded(project) is None
    assert history(project)[-1]["outcome"] == "interrupted"


def kill_in_the_dump(project: Project) -> None:
    process = owctl(project, "backup")
    wait_for_dump(project, process)
    process.kill()
    process.communicate(timeout=60)
    assert states(project)["postgres"] == "running"
    assert recorded(project)["project"] == project.name


@pytest.mark.parametrize("exists", [True, False])
def test_after_a_kill_the_next_one_stops_it(project: Project, exists: bool) -> None:
    if not exists:
        remove_containers(project)
    kill_in_the_dump(project)
    code, _, stderr = finished(project, "backup", "--only", "config")
    assert code == 0, stderr
    assert "interrupted backup had started" in stderr
    assert states(project) == (dict.fromkeys(SERVICES, "exited") if exists else {})
    assert recorded(project) is None
    assert not [name for name in backups(project) if name.endswith(".partial")]


def test_what_somebody_uses_meanwhile_is_left_alone(project: Project) -> None:
    kill_in_the_dump(project)
    project.engine.api.start(project.containers["rust-backend"])
    code, _, stderr = finished(project, "backup", "--only", "config")
    assert code == 0, stderr
    assert states(project)["postgres"] == "running"
    assert recorded(project) is None


def test_a_database_without_its_volume_is_refused(engine: Engine, project: Project) -> None:
    remove_containers(project)
    stack, absent = project.stack, f"{project.name}_not_there"
    volume = dataclasses.replace(stack.volumes["postgres_data"], name=absent)
    moved = dataclasses.replace(stack, volumes={**stack.volumes, "postgres_data": volume})
    with pytest.raises(OwctlError, match="no database to back up") as caught:
        create_backup(engine, moved, BackupRequest())
    assert "--only files,redis,config" in (caught.value.hint or "")
    assert states(project) == {}
    assert absent not in [each["Name"] for each in engine.api.volumes()["Volumes"]]


def test_a_stack_with_nothing_at_all_is_refused(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = Project(engine, tmp_path_factory.mktemp("nothing"))
    project.remove()
    with pytest.raises(OwctlError, match="is nothing of") as caught:
        create_backup(engine, project.stack, BackupRequest())
    assert "owctl start" in (caught.value.hint or "")
    assert backups(project) == []
    # Its configuration is there, though.
    create_backup(engine, project.stack, BackupRequest(parts=frozenset({"config"})))
